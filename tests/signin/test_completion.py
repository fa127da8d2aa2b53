"""The end of a sign-in during a concurrent change: it happens completely or not at all."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import copy_context
from typing import Any
from uuid import UUID

import msgspec
import pytest
from litestar import Request

from idp import ids
from idp.accounts.repository.users import lock_user
from idp.accounts.tables import User
from idp.errors import FlowError, FlowFinishedError
from idp.infra import rate_limits
from idp.infra.db.engine import execute, fetch, fetchrow, transaction
from idp.settings import settings
from idp.signin import completion, devices, limits, service, sessions, subject
from idp.signin import flow as flows
from idp.signin.browser import Browser, BrowserBinding, BrowserKey
from idp.signin.completion import CompletedSignIn
from idp.signin.flow import Flow
from idp.signin.http import app_of, browser_of
from idp.signin.repository.subjects import subject_by_id
from idp.signin.service import StepResult
from idp.signin.steps import StepRefusedError, VerifiedStep, password
from idp.signin.steps.password import VerifiedPassword
from idp.signin.subject import SignInSubject
from idp.signin.transitions import CompletedStep, Step
from tests.conftest import MakeUser

PASSWORD = CompletedStep(Step.PASSWORD, ("pwd",))
APP = Browser(keeps_cookies=False)


def _next(completed: CompletedSignIn) -> Browser:
    """The browser with the cookies that a sign-in set."""
    return Browser(session_token=completed.session_token, device_token=completed.device_token)


async def _flow() -> Flow:
    return await flows.load_bound(await flows.start(BrowserKey.new(), "/"))


async def _person(user: User, browser: Browser | None = None) -> SignInSubject:
    person = await subject_by_id(user.id, browser or Browser())
    assert person is not None
    return person


async def _end(browser: Browser, flow: Flow, person: SignInSubject, *, trust: bool = False) -> CompletedSignIn | None:
    """None: it was refused, and rolled back."""
    with suppress(FlowFinishedError):
        async with transaction():
            return await completion.complete(browser, flow, person, PASSWORD, trust=trust)
    return None


async def _go_on(flow: Flow, person: SignInSubject) -> Flow | None:
    with suppress(FlowFinishedError):
        async with transaction():
            return await flows.note_step(flow, person.id, PASSWORD, finish=False)
    return None


async def _note(flow: Flow, user: User, browser: Browser | None = None) -> StepResult:
    """Note a password that was verified earlier, whatever has happened since."""
    async with transaction():
        verified = await password.complete(flow, VerifiedPassword(user.id, str(user.password_hash)))
        return await service._note(browser or Browser(), flow, verified, trust=False)


async def _sessions(user_id: UUID) -> list[bool]:
    """Return for each session of the user whether it is live, the oldest first."""
    rows = await fetch("SELECT ended_at IS NULL AS live FROM session WHERE user_id = $1 ORDER BY id", user_id)
    return [row["live"] for row in rows]


async def _events(user_id: UUID) -> int:
    row = await fetchrow("SELECT count(*) FROM audit_event WHERE user_id = $1 AND event = 'sign_in'", user_id)
    assert row is not None
    return int(row["count"])


async def _is_untouched(user: User) -> None:
    """No session, event or device of the user."""
    assert await _sessions(user.id) == []
    assert await _events(user.id) == 0
    assert await fetch("SELECT 1 FROM device WHERE user_id = $1", user.id) == []


async def _ask_for_second_step(user: User) -> None:
    await execute("UPDATE users SET two_step = true WHERE id = $1", user.id)
    await execute(
        "INSERT INTO totp (id, user_id, secret, last_step, created_at, confirmed_at)"
        " VALUES ($1, $1, '', 0, now(), now())",
        user.id,
    )


async def test_all_of_it(alice: User) -> None:
    flow, person = await _flow(), await _person(alice)
    for rule, whose in ((limits.PASSWORDS, alice.email), (limits.SECOND_STEPS, str(alice.id))):
        await rate_limits.spend((rule, whose))
    ended = await _end(Browser(), flow, person)
    assert ended is not None
    assert (ended.flow.user_id, ended.flow.done, ended.flow.turn) == (alice.id, (PASSWORD,), 1)
    assert await sessions.find(ended.session_token) == ended.session
    again = await _person(alice, _next(ended))
    assert (again.known, again.trusted, again.session_id) == (True, False, ended.session.id)
    event = await fetchrow("SELECT * FROM audit_event WHERE session_id = $1", ended.session.id)
    assert event is not None
    assert (event["event"], event["outcome"], event["user_id"]) == ("sign_in", "success", alice.id)
    assert event["hash"] is not None
    assert await rate_limits.spend((limits.PASSWORDS, alice.email)) == 1
    # A password does not prove a second factor.
    assert await rate_limits.spend((limits.SECOND_STEPS, str(alice.id))) == 2


_FLOW_CHANGES = {
    "the flow is over": "UPDATE signin_flow SET finished_at = now() WHERE id = $1",
    "the flow is too old": "UPDATE signin_flow SET expires_at = now() WHERE id = $1",
    "the flow went on": "UPDATE signin_flow SET turn = turn + 1 WHERE id = $1",
}


@pytest.mark.parametrize("statement", _FLOW_CHANGES.values(), ids=_FLOW_CHANGES)
@pytest.mark.parametrize("ends", [True, False])
async def test_nothing_once_the_flow_changed(alice: User, statement: str, ends: bool) -> None:
    flow, person = await _flow(), await _person(alice)
    await execute(statement, flow.binding.id)
    before = await fetchrow("SELECT * FROM signin_flow WHERE id = $1", flow.binding.id)
    assert await (_end(Browser(), flow, person) if ends else _go_on(flow, person)) is None
    assert await fetchrow("SELECT * FROM signin_flow WHERE id = $1", flow.binding.id) == before
    await _is_untouched(alice)


_USER_CHANGES = {
    "another password": "UPDATE users SET password_hash = 'x' WHERE id = $1",
    "disabled": "UPDATE users SET disabled_at = now() WHERE id = $1",
}


@pytest.mark.parametrize("statement", _USER_CHANGES.values(), ids=_USER_CHANGES)
async def test_nothing_once_the_user_changed(alice: User, statement: str) -> None:
    flow = await _flow()
    await execute(statement, alice.id)
    before = await fetchrow("SELECT * FROM signin_flow WHERE id = $1", flow.binding.id)
    with pytest.raises(StepRefusedError):
        await _note(flow, alice)
    assert await fetchrow("SELECT * FROM signin_flow WHERE id = $1", flow.binding.id) == before
    await _is_untouched(alice)


async def test_no_way_to_sign_in_accepts_a_disabled_user(alice: User) -> None:
    flow = await _flow()
    await execute(_USER_CHANGES["disabled"], alice.id)
    before = await fetchrow("SELECT * FROM signin_flow WHERE id = $1", flow.binding.id)
    verified = VerifiedStep(alice.id, CompletedStep(Step.EMAIL_CODE, ("otp",)))
    with pytest.raises(FlowError):
        await service._note(Browser(), flow, verified, trust=False)
    assert await fetchrow("SELECT * FROM signin_flow WHERE id = $1", flow.binding.id) == before
    await _is_untouched(alice)


async def test_a_second_step_that_is_wanted_since_is_asked_for(alice: User) -> None:
    flow = await _flow()
    await _ask_for_second_step(alice)
    result = await _note(flow, alice)
    assert (result.session, result.flow.user_id, result.flow.done) == (None, alice.id, (PASSWORD,))
    await _is_untouched(alice)


async def test_a_change_that_is_under_way_is_waited_for(alice: User) -> None:
    """The sign-in reads the user after it has the lock, so it sees the change."""
    flow, outside = await _flow(), copy_context()
    async with transaction():
        await lock_user(alice.id)
        step = asyncio.get_running_loop().create_task(_note(flow, alice), context=outside)
        while not await fetch(
            "SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
        ):
            assert not step.done()
            await asyncio.sleep(0.01)
        await _ask_for_second_step(alice)
    assert (await step).session is None
    await _is_untouched(alice)


async def test_a_browser_that_is_trusted_no_more(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    trusting = settings().model_copy(update={"trusted_device_lifetime": 3600})
    for module in (devices, subject):
        monkeypatch.setattr(module, "settings", lambda: trusting)
    browser = Browser(device_token=ids.random_token())
    await _ask_for_second_step(alice)
    first = await _end(browser, await _flow(), await _person(alice, browser), trust=True)
    assert first is not None
    browser = Browser(device_token=first.device_token)
    result = await _note(await _flow(), alice, browser)
    assert result.session is not None
    flow, browser = await _flow(), Browser(device_token=result.device_token)
    assert (await _person(alice, browser)).trusted
    await devices.distrust_all(alice.id)
    assert (await _note(flow, alice, browser)).session is None
    assert not (await _person(alice, browser)).trusted


@pytest.mark.fault(4)
async def test_a_device_cookie_that_was_copied_before(
    alice: User, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy identifies no user any more; the new cookie identifies all users who signed in there."""
    trusting = settings().model_copy(update={"trusted_device_lifetime": 3600})
    for module in (devices, subject):
        monkeypatch.setattr(module, "settings", lambda: trusting)
    mallory = await make_user()
    planted = await _end(Browser(), await _flow(), await _person(mallory))
    assert planted is not None
    copy = Browser(device_token=planted.device_token)
    first = await _end(copy, await _flow(), await _person(alice, copy), trust=True)
    assert first is not None
    second = Browser(device_token=first.device_token)
    for user in (alice, mallory):
        person = await _person(user, copy)
        assert (person.known, person.trusted) == (False, False)
        assert await devices.find_known(copy, user_id=user.id) is None
        assert (await _person(user, second)).known
    # Another sign-in without "trust this browser" keeps the trust, under a third cookie.
    again = await _end(second, await _flow(), await _person(alice, second))
    assert again is not None
    third = Browser(device_token=again.device_token)
    assert (await _person(alice, third)).trusted
    assert not (await _person(mallory, third)).trusted
    assert not (await _person(alice, second)).known
    assert len(await fetch("SELECT FROM device WHERE user_id = ANY($1)", [alice.id, mallory.id])) == 2


async def test_another_browser_takes_no_part_in_it(alice: User) -> None:
    """The secret of the flow is in a cookie; its id alone is worth nothing."""
    flow, person = await _flow(), await _person(alice)
    stolen = msgspec.structs.replace(flow, binding=BrowserBinding(flow.binding.id, ids.random_token()))
    assert await _end(Browser(), stolen, person) is None
    assert await _end(Browser(), flow, person) is not None


@pytest.mark.parametrize("ends", [True, False])
async def test_twenty_at_once(alice: User, ends: bool) -> None:
    flow, person = await _flow(), await _person(alice)
    step: Callable[[], Awaitable[object]] = (
        (lambda: _end(Browser(), flow, person)) if ends else (lambda: _go_on(flow, person))
    )
    results = await asyncio.gather(*(step() for _ in range(20)))
    assert len([result for result in results if result is not None]) == 1
    assert await _sessions(alice.id) == [True] * ends
    assert await _events(alice.id) == ends


async def test_the_same_person_keeps_the_session_under_a_new_cookie(alice: User) -> None:
    first = await _end(Browser(), await _flow(), await _person(alice))
    assert first is not None
    browser = Browser(session_token=first.session_token)
    second = await _end(browser, await _flow(), await _person(alice, browser))
    assert second is not None
    assert second.session.id == first.session.id
    assert second.session.auth_time > first.session.auth_time
    assert await sessions.find(browser.session_token) is None
    assert await sessions.find(second.session_token) == second.session


async def test_a_session_that_ended_is_not_gone_on_with(alice: User) -> None:
    first = await _end(Browser(), await _flow(), await _person(alice))
    assert first is not None
    browser = Browser(session_token=first.session_token)
    person = await _person(alice, browser)
    await sessions.end(first.session, "x")
    assert await _end(browser, await _flow(), person) is None
    assert await _sessions(alice.id) == [False]


async def test_another_person_s_session_at_this_browser_ends(alice: User, make_user: MakeUser) -> None:
    bob = await make_user()
    first = await _end(Browser(), await _flow(), await _person(bob))
    assert first is not None
    elsewhere = await _end(Browser(), await _flow(), await _person(bob))
    assert elsewhere is not None
    browser = Browser(session_token=first.session_token)
    assert await _end(browser, await _flow(), await _person(alice, browser)) is not None
    assert await _sessions(bob.id) == [False, True]
    assert await _sessions(alice.id) == [True]


async def test_single_session_mode(alice: User, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch) -> None:
    single = settings().model_copy(update={"single_session": True})
    bob = await make_user()
    for user in (alice, bob, alice):
        assert await _end(Browser(), await _flow(), await _person(user)) is not None
    monkeypatch.setattr(completion, "settings", lambda: single)
    assert await _end(Browser(), await _flow(), await _person(alice)) is not None
    assert await _sessions(alice.id) == [False, False, True]
    assert await _sessions(bob.id) == [True]


async def test_an_app_gets_a_separate_session(alice: User) -> None:
    """It ignores cookies, and does not become a known device."""
    assert await _end(Browser(), await _flow(), await _person(alice)) is not None
    app = await _end(APP, await _flow(), await _person(alice, APP))
    assert app is not None
    assert app.device_token is None
    assert await _sessions(alice.id) == [True, True]
    assert len(await fetch("SELECT 1 FROM device WHERE user_id = $1", alice.id)) == 1


def test_the_cookies_of_an_app_are_ignored() -> None:
    headers = [(b"cookie", b"__Host-session=a; __Host-device=b; __Host-flow.c=d"), (b"user-agent", b"App\x001")]
    request: Request[Any, Any, Any] = Request({"type": "http", "headers": headers})  # type: ignore[typeddict-item]
    assert app_of(request) == Browser(user_agent="App1", keeps_cookies=False)
    assert browser_of(request) == Browser("a", "b", {"c": "d"}, "App1")
