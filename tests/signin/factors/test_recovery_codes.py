"""Recovery codes: ten, each valid once, in any spelling."""

import asyncio
import re

import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import fetch
from idp.signin.factors import recovery_codes, repository
from tests.conftest import MakeUser


async def test_ten_different_ones_of_fifty_bits(alice: User) -> None:
    codes = await recovery_codes.generate(alice.id)
    assert len(set(codes)) == 10
    for code in codes:
        assert re.fullmatch("[0-9a-hjkmnp-tv-z]{5}-[0-9a-hjkmnp-tv-z]{5}", code)
    assert await recovery_codes.count_unused(alice.id) == 10


async def test_each_can_be_used_once(alice: User) -> None:
    codes = await recovery_codes.generate(alice.id)
    for left, code in zip(range(9, -1, -1), codes, strict=True):
        assert await recovery_codes.consume(alice.id, code)
        assert not await recovery_codes.consume(alice.id, code)
        assert await recovery_codes.count_unused(alice.id) == left


async def test_a_race_has_one_winner(alice: User) -> None:
    code, *_ = await recovery_codes.generate(alice.id)
    answers = await asyncio.gather(*(recovery_codes.consume(alice.id, code) for _ in range(20)))
    assert answers.count(True) == 1


@pytest.mark.parametrize(
    "typed",
    [
        "0o1il-abcde",
        "0O1IL-ABCDE",
        "00111abcde",
        " 00111 abcde\n",
        "00-11-1a-bc-de",
        "00111\N{EN DASH}abcde",
        "0 0 1 1 1 _ a b c d e",
    ],
)
async def test_spellings_of_a_code(alice: User, monkeypatch: pytest.MonkeyPatch, typed: str) -> None:
    letters = iter("00111abcde" * 10)
    monkeypatch.setattr(recovery_codes.secrets, "choice", lambda _: next(letters))
    assert (await recovery_codes.generate(alice.id))[0] == "00111-abcde"
    assert await recovery_codes.consume(alice.id, typed)


@pytest.mark.parametrize(
    "typed", ["", "-", "0" * 10, "u" * 10, "\ud800" * 10, "\0" * 10, "é" * 10, "\N{ARABIC-INDIC DIGIT ZERO}" * 10]
)
async def test_invalid_codes(alice: User, typed: str) -> None:
    await recovery_codes.generate(alice.id)
    assert not await recovery_codes.consume(alice.id, typed)


async def test_a_long_text_is_no_code(alice: User) -> None:
    code, *_ = await recovery_codes.generate(alice.id)
    assert not await recovery_codes.consume(alice.id, code + "-" * 100 + "a" * 1_000_000)
    assert not await recovery_codes.consume(alice.id, code * 2)
    assert not await recovery_codes.consume(alice.id, code[:-1])


async def test_new_ones_replace_the_old(alice: User) -> None:
    old, *_ = await recovery_codes.generate(alice.id)
    new, *_ = await recovery_codes.generate(alice.id)
    assert not await recovery_codes.consume(alice.id, old)
    assert await recovery_codes.consume(alice.id, new)
    assert await recovery_codes.count_unused(alice.id) == 9


async def test_made_at_the_same_time_only_one_set_counts(alice: User) -> None:
    sets = await asyncio.gather(*(recovery_codes.generate(alice.id) for _ in range(6)))
    assert await recovery_codes.count_unused(alice.id) == 10
    firsts = [await recovery_codes.consume(alice.id, codes[0]) for codes in sets]
    assert firsts.count(True) == 1


async def test_a_code_of_another_user(alice: User, make_user: MakeUser) -> None:
    bob = await make_user()
    code, *_ = await recovery_codes.generate(alice.id)
    await recovery_codes.generate(bob.id)
    assert not await recovery_codes.consume(bob.id, code)
    await repository.delete_recovery_codes(bob.id)
    assert await recovery_codes.count_unused(bob.id) == 0
    assert await recovery_codes.count_unused(alice.id) == 10


async def test_the_database_does_not_tell_them(alice: User) -> None:
    codes = await recovery_codes.generate(alice.id)
    rows = await fetch("SELECT code_hash FROM recovery_code WHERE user_id = $1", alice.id)
    stored = b"".join(row["code_hash"] for row in rows)
    assert len(stored) == 10 * 32
    assert not any(part.encode() in stored for code in codes for part in code.split("-"))
