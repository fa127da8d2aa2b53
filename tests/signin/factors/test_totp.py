"""Codes of an authenticator app: each is valid once, and only near its time."""

import asyncio
import re
from collections.abc import Iterator
from datetime import timedelta

import pyotp
import pytest

from idp import clock
from idp.accounts.tables import User
from idp.infra.db.engine import execute, fetchrow
from idp.keys import vault
from idp.signin.factors import totp
from idp.signin.factors.repository import find_totp
from tests.conftest import MakeUser

#: The session that shows the secret.
HOLDER = "a session"


@pytest.fixture(autouse=True)
def middle_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the clock to the middle of a time step, so that none begins while a test runs."""
    _move(monkeypatch, 15 - clock.now().timestamp() % totp.STEP)


def _move(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(clock, "offset", clock.offset + timedelta(seconds=seconds))


def _code(secret: str, steps: int = 0) -> str:
    return pyotp.HOTP(secret).at(clock.timestamp() // totp.STEP + steps)


async def _enable(user: User) -> str:
    """Give a user an app; the code of the step before this one is used up."""
    secret = (await totp.start_setup(user.id, HOLDER, user.email)).secret
    assert await totp.confirm(user.id, HOLDER, _code(secret, -1))
    return secret


async def test_setting_up(alice: User) -> None:
    setup = await totp.start_setup(alice.id, HOLDER, alice.email)
    app = pyotp.parse_uri(setup.uri)
    assert (app.secret, app.name, app.issuer) == (setup.secret, alice.email, "idp")
    assert len(setup.secret) == 32
    assert await find_totp(alice.id) is None
    assert not await totp.verify(alice.id, app.at(clock.now()))
    assert await totp.confirm(alice.id, HOLDER, app.at(clock.now()))
    assert await find_totp(alice.id) is not None


async def test_the_picture_needs_no_style_and_no_script(alice: User) -> None:
    svg = (await totp.start_setup(alice.id, HOLDER, alice.email)).qr_svg
    assert svg.startswith("<svg ")
    assert not re.search(r"<script|<style|style=|\son\w+=|href", svg)
    assert 'fill="#fff"' in svg


async def test_a_pending_secret_stays_for_an_hour(alice: User) -> None:
    first = await totp.start_setup(alice.id, HOLDER, alice.email)
    assert await totp.start_setup(alice.id, HOLDER, alice.email) == first
    await execute("UPDATE totp SET created_at = now() - interval '61 minutes' WHERE user_id = $1", alice.id)
    second = await totp.start_setup(alice.id, HOLDER, alice.email)
    assert second.secret != first.secret
    assert not await totp.confirm(alice.id, HOLDER, _code(first.secret))
    assert await totp.start_setup(alice.id, HOLDER, alice.email) == second
    assert await totp.confirm(alice.id, HOLDER, _code(second.secret))


async def test_started_in_two_tabs_at_once(alice: User) -> None:
    setups = await asyncio.gather(*(totp.start_setup(alice.id, HOLDER, alice.email) for _ in range(8)))
    assert len(set(setups)) == 1


async def test_another_app_needs_the_first_one_off(alice: User) -> None:
    secret = await _enable(alice)
    with pytest.raises(totp.AlreadyEnabledError):
        await totp.start_setup(alice.id, HOLDER, alice.email)
    assert not await totp.confirm(alice.id, HOLDER, _code(secret))
    assert await totp.disable(alice.id)
    assert not await totp.disable(alice.id)
    assert await find_totp(alice.id) is None
    assert not await totp.verify(alice.id, _code(secret))
    assert (await totp.start_setup(alice.id, HOLDER, alice.email)).secret != secret


async def test_removing_a_pending_app(alice: User) -> None:
    first = await totp.start_setup(alice.id, HOLDER, alice.email)
    assert not await totp.disable(alice.id)
    assert await totp.start_setup(alice.id, HOLDER, alice.email) != first


async def test_a_code_counts_once(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = await _enable(alice)
    assert await totp.verify(alice.id, _code(secret))
    assert not await totp.verify(alice.id, _code(secret))
    _move(monkeypatch, totp.STEP)
    assert not await totp.verify(alice.id, _code(secret, -1))
    assert await totp.verify(alice.id, _code(secret))


async def test_the_code_that_confirmed_is_used_up(alice: User) -> None:
    setup = await totp.start_setup(alice.id, HOLDER, alice.email)
    assert await totp.confirm(alice.id, HOLDER, _code(setup.secret))
    assert not await totp.verify(alice.id, _code(setup.secret))


async def test_no_earlier_step_after_a_later_one(alice: User) -> None:
    secret = await _enable(alice)
    assert await totp.verify(alice.id, _code(secret, 1))
    assert not await totp.verify(alice.id, _code(secret))


@pytest.mark.parametrize(("steps", "accepted"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
async def test_clocks_may_differ_by_one_step(
    alice: User, monkeypatch: pytest.MonkeyPatch, steps: int, accepted: bool
) -> None:
    secret = await _enable(alice)
    _move(monkeypatch, 10 * totp.STEP)
    assert await totp.verify(alice.id, _code(secret, steps)) is accepted


async def test_a_race_has_one_winner(alice: User) -> None:
    secret = await _enable(alice)
    answers = await asyncio.gather(*(totp.verify(alice.id, _code(secret)) for _ in range(20)))
    assert answers.count(True) == 1


async def test_a_race_to_confirm_has_one_winner(alice: User) -> None:
    setup = await totp.start_setup(alice.id, HOLDER, alice.email)
    answers = await asyncio.gather(*(totp.confirm(alice.id, HOLDER, _code(setup.secret)) for _ in range(20)))
    assert answers.count(True) == 1


def _spellings(code: str) -> Iterator[str]:
    yield from (
        "",
        " ",
        code[:5],
        code + "0",
        "-" + code[1:],
        code + "x",
        code + " " * 60,
        code * 100_000,
        "\ud800" * 6,
    )


async def test_only_six_digits(alice: User) -> None:
    secret = await _enable(alice)
    code = _code(secret)
    for spelling in _spellings(code):
        assert not await totp.verify(alice.id, spelling), spelling[:20]
    assert await totp.verify(alice.id, f" {code[:3]} {code[3:]}\n")


async def test_only_its_owners_code(alice: User, make_user: MakeUser) -> None:
    bob = await make_user()
    secret, other = await _enable(alice), await _enable(bob)
    assert not await totp.verify(bob.id, _code(secret))
    assert await totp.verify(bob.id, _code(other))


async def test_the_secret_is_sealed_for_its_row(alice: User, make_user: MakeUser) -> None:
    secret = await _enable(alice)
    row = await fetchrow("SELECT id, secret FROM totp WHERE user_id = $1", alice.id)
    assert row is not None
    assert secret.encode() not in row["secret"]
    assert pyotp.TOTP(secret).byte_secret() not in row["secret"]
    bob = await make_user()
    await _enable(bob)
    await execute("UPDATE totp SET secret = $2 WHERE user_id = $1", bob.id, row["secret"])
    with pytest.raises(vault.SecretsError):
        await totp.verify(bob.id, _code(secret))
