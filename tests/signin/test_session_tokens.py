"""The value of the session cookie: what is read from it, and what finds a session."""

from uuid import UUID

import pytest

from idp import ids
from idp.accounts.tables import User
from idp.infra.db.engine import fetch, transaction
from idp.signin import session_tokens, sessions
from idp.signin.browser import Browser
from idp.signin.repository import sessions as stored
from idp.signin.session_tokens import SessionToken, parse
from idp.signin.transitions import CompletedStep, Step
from tests.conftest import MakeUser

USER = UUID("01234567-89ab-7def-8123-456789abcdef")
SECRET = "s" * 43
GOOD = f"{USER.hex}.{SECRET}"


async def _start(user: User) -> str:
    async with transaction():
        started = await sessions.start(Browser(), user.id, (CompletedStep(Step.PASSWORD, ("pwd",)),))
    return started.token


def test_a_token_names_its_user_and_is_hashed_as_a_whole() -> None:
    assert parse(GOOD) == SessionToken(USER, ids.digest(GOOD))
    made = {session_tokens.new(USER) for _ in range(3)}
    assert len(made) == 3
    for token in made:
        assert parse(token) == SessionToken(USER, ids.digest(token))


BAD = [
    None,
    "",
    ".",
    SECRET,
    USER.hex,
    f"{USER.hex}.",
    f".{SECRET}",
    f"{USER.hex}{SECRET}",
    f"{USER}.{SECRET}",
    f"{{{USER}}}.{SECRET}",
    f"urn:uuid:{USER}.{SECRET}",
    f"{USER.hex.upper()}.{SECRET}",
    f"{USER.hex}.{SECRET}s",
    f"{USER.hex}.{SECRET[1:]}",
    f"{USER.hex}0.{SECRET}",
    f"{USER.hex[1:]}.{SECRET}",
    f"g{USER.hex[1:]}.{SECRET}",
    f"{USER.hex}..{SECRET}",
    f"{USER.hex}.{SECRET}.{SECRET}",
    f"{USER.hex}.{SECRET[1:]}=",
    f"{USER.hex}.{SECRET[1:]}+",
    f"{USER.hex}.{SECRET[1:]} ",
    f" {GOOD}",
    f"{GOOD} ",
    f"{GOOD}\n",
    f"{GOOD}\0",
    f"{USER.hex}.{SECRET[1:]}\0",
    f"{USER.hex}.{SECRET[1:]}é",
    # Digits, but not of ASCII.
    "\u0660" * 32 + f".{SECRET}",
    GOOD * 1000,
]


@pytest.mark.parametrize("value", BAD)
async def test_anything_else_is_no_session_and_costs_no_query(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.setattr(stored, "find_session", None)
    assert parse(value) is None
    assert await sessions.find(value) is None
    assert Browser(session_token=value).session is None


async def test_the_id_of_another_user_finds_no_session(make_user: MakeUser) -> None:
    """The secret of another session does not work, and neither does its hash in a statement."""
    alice, bob = await make_user(), await make_user()
    token = await _start(alice)
    await _start(bob)
    found = await sessions.find(token)
    assert found is not None
    assert found.user_id == alice.id
    forged = f"{bob.id.hex}.{token.partition('.')[2]}"
    assert await sessions.find(forged) is None
    for named in (parse(forged), SessionToken(bob.id, ids.digest(token))):
        assert named is not None
        assert await stored.find_session(named, 60, sessions.LAST_SEEN_PRECISION) is None
        await stored.end_other_session_of_token(named, ids.uuid7(), "x")
    assert not await stored.end_session(bob.id, found.id, "x")
    assert await stored.lock_session(bob.id, found.id) is None
    await stored.store_challenge(bob.id, found.id, b"theirs")
    assert await stored.consume_challenge(bob.id, found.id) is None
    assert await sessions.find(token) == found
    assert (
        await fetch("SELECT FROM session WHERE ended_at IS NOT NULL AND user_id = ANY ($1)", [alice.id, bob.id]) == []
    )


async def test_the_challenge_of_one_session_is_consumed_once(alice: User) -> None:
    session = await sessions.find(await _start(alice))
    other = await sessions.find(await _start(alice))
    assert session is not None
    assert other is not None
    await sessions.store_challenge(session, b"one")
    await sessions.store_challenge(other, b"other")
    assert await sessions.consume_challenge(session) == b"one"
    assert await sessions.consume_challenge(session) is None
    assert await sessions.consume_challenge(other) == b"other"
