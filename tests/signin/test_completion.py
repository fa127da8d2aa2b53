"""What a step leads to, when something else happens between its proof and its end: all of it, or nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import msgspec
import pytest
from litestar import Request

from idp import ids
from idp.accounts.tables import User
from idp.infra import rate_limits
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.settings import settings
from idp.signin import completion, devices, limits, sessions, subject
from idp.signin import flow as flows
from idp.signin.browser import BrowserBinding, BrowserKey
from idp.signin.completion import Ended
from idp.signin.flow import Flow
from idp.signin.subject import SignInSubject
from idp.signin.transitions import CompletedStep, Step
from tests.conftest import MakeUser

PASSWORD = CompletedStep(Step.PASSWORD, ("pwd",))
AnyRequest = Request[Any, Any, Any]


def _request(**sent: str) -> AnyRequest:
    """Of a browser that sends these cookies."""
    header = "; ".join(f"__Host-{name}={value}" for name, value in sent.items())
    headers = [(b"cookie", header.encode()), (b"user-agent", b"Test")]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers, "query_string": b""})  # type: ignore[typeddict-item]


async def _flow() -> Flow:
    return await flows.load_bound(await flows.start(BrowserKey.new(), "/"))


async def _person(user: User, request: AnyRequest | None = None) -> SignInSubject:
    person = await subject.of(user.id, request or _request())
    assert person is not None
    return person


async def _end(request: AnyRequest, flow: Flow, person: SignInSubject, *, trust: bool = False) -> Ended | None:
    return await completion.end(request, flow, person, PASSWORD, browser=True, trust=trust)


async def _sessions(user_id: UUID) -> list[bool]:
    """Whether each of a user's sessions is live, the oldest first."""
    rows = await fetch("SELECT ended_at IS NULL AS live FROM session WHERE user_id = $1 ORDER BY id", user_id)
    return [row["live"] for row in rows]


async def _events(user_id: UUID) -> int:
    row = await fetchrow("SELECT count(*) FROM audit_event WHERE user_id = $1 AND event = 'sign_in'", user_id)
    assert row is not None
    return int(row["count"])


async def test_all_of_it(alice: User) -> None:
    request, flow, person = _request(), await _flow(), await _person(alice)
    for rule, whose in ((limits.PASSWORDS, alice.email), (limits.SECOND_STEPS, str(alice.id))):
        await rate_limits.spend((rule, whose))
    ended = await _end(request, flow, person)
    assert ended is not None
    assert (ended.flow.user_id, ended.flow.done, ended.flow.turn) == (alice.id, (PASSWORD,), 1)
    session, device = ended.cookies
    found = await sessions.current(_request(session=str(session.value)))
    assert found == ended.session
    again = await _person(alice, _request(device=str(device.value), session=str(session.value)))
    assert (again.known, again.trusted, again.session_id) == (True, False, ended.session.id)
    event = await fetchrow("SELECT * FROM audit_event WHERE session_id = $1", ended.session.id)
    assert event is not None
    assert (event["event"], event["outcome"], event["user_id"]) == ("sign_in", "success", alice.id)
    assert event["hash"] is not None
    assert await rate_limits.spend((limits.PASSWORDS, alice.email)) == 1
    # A password is no proof of a second factor.
    assert await rate_limits.spend((limits.SECOND_STEPS, str(alice.id))) == 2


_CHANGES = {
    "another password": "UPDATE users SET password_hash = 'x' WHERE id = $1",
    "disabled": "UPDATE users SET disabled_at = now() WHERE id = $1",
    "a second step is wanted": "UPDATE users SET two_step = true WHERE id = $1",
    "a new factor": "INSERT INTO totp (id, user_id, secret, confirmed_at) VALUES ($1, $1, '', now())",
    "the flow is over": "UPDATE signin_flow SET finished_at = now() WHERE id = $1",
    "the flow is too old": "UPDATE signin_flow SET expires_at = now() WHERE id = $1",
    "the flow went on": "UPDATE signin_flow SET turn = turn + 1 WHERE id = $1",
}


@pytest.mark.parametrize("statement", _CHANGES.values(), ids=_CHANGES)
@pytest.mark.parametrize("ends", [True, False])
async def test_nothing_once_something_changed(alice: User, statement: str, ends: bool) -> None:
    flow, person = await _flow(), await _person(alice)
    await execute(statement, flow.binding.id if "signin_flow" in statement else alice.id)
    before = await fetchrow("SELECT * FROM signin_flow WHERE id = $1", flow.binding.id)
    assert await (_end(_request(), flow, person) if ends else completion.go_on(flow, person, PASSWORD)) is None
    assert await fetchrow("SELECT * FROM signin_flow WHERE id = $1", flow.binding.id) == before
    assert await _sessions(alice.id) == []
    assert await _events(alice.id) == 0
    assert await fetch("SELECT 1 FROM device WHERE user_id = $1", alice.id) == []


async def test_a_browser_that_is_trusted_no_more(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    trusting = settings().model_copy(update={"trusted_device_lifetime": 3600})
    for module in (devices, subject):
        monkeypatch.setattr(module, "settings", lambda: trusting)
    request = _request(device=ids.random_token())
    await execute("UPDATE users SET two_step = true WHERE id = $1", alice.id)
    first = await _end(request, await _flow(), await _person(alice, request), trust=True)
    assert first is not None
    request = _request(device=str(first.cookies[1].value))
    person = await _person(alice, request)
    assert person.trusted
    await devices.distrust_all(alice.id)
    assert await _end(request, await _flow(), person) is None
    assert not (await _person(alice, request)).trusted


@pytest.mark.fault(4)
async def test_a_device_cookie_that_was_copied_before(
    alice: User, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who used the browser before is known by nothing there; all who signed in there are known by the new cookie."""
    trusting = settings().model_copy(update={"trusted_device_lifetime": 3600})
    for module in (devices, subject):
        monkeypatch.setattr(module, "settings", lambda: trusting)
    mallory = await make_user()
    planted = await _end(_request(), await _flow(), await _person(mallory))
    assert planted is not None
    copy = _request(device=str(planted.cookies[1].value))
    first = await _end(copy, await _flow(), await _person(alice, copy), trust=True)
    assert first is not None
    second = _request(device=str(first.cookies[1].value))
    for user in (alice, mallory):
        person = await _person(user, copy)
        assert (person.known, person.trusted) == (False, False)
        assert await devices.find_known(copy, user_id=user.id) is None
        assert (await _person(user, second)).known
    # Another sign-in without the wish leaves the trust, under a third cookie.
    again = await _end(second, await _flow(), await _person(alice, second))
    assert again is not None
    third = _request(device=str(again.cookies[1].value))
    assert (await _person(alice, third)).trusted
    assert not (await _person(mallory, third)).trusted
    assert not (await _person(alice, second)).known
    assert len(await fetch("SELECT FROM device WHERE user_id = ANY($1)", [alice.id, mallory.id])) == 2


async def test_another_browser_takes_no_part_in_it(alice: User) -> None:
    """The secret of the flow is in a cookie; its id alone is worth nothing."""
    flow, person = await _flow(), await _person(alice)
    stolen = msgspec.structs.replace(flow, binding=BrowserBinding(flow.binding.id, ids.random_token()))
    assert await _end(_request(), stolen, person) is None
    assert await _end(_request(), flow, person) is not None


@pytest.mark.parametrize("ends", [True, False])
async def test_twenty_at_once(alice: User, ends: bool) -> None:
    flow, person = await _flow(), await _person(alice)
    step: Callable[[], Awaitable[object]] = (
        (lambda: _end(_request(), flow, person)) if ends else (lambda: completion.go_on(flow, person, PASSWORD))
    )
    results = await asyncio.gather(*(step() for _ in range(20)))
    assert len([result for result in results if result is not None]) == 1
    assert await _sessions(alice.id) == [True] * ends
    assert await _events(alice.id) == ends


async def test_the_same_person_keeps_the_session_under_a_new_cookie(alice: User) -> None:
    first = await _end(_request(), await _flow(), await _person(alice))
    assert first is not None
    old = str(first.cookies[0].value)
    request = _request(session=old)
    second = await _end(request, await _flow(), await _person(alice, request))
    assert second is not None
    assert second.session.id == first.session.id
    assert second.session.auth_time > first.session.auth_time
    assert await sessions.current(request) is None
    assert await sessions.current(_request(session=str(second.cookies[0].value))) == second.session


async def test_a_session_that_ended_is_not_gone_on_with(alice: User) -> None:
    first = await _end(_request(), await _flow(), await _person(alice))
    assert first is not None
    request = _request(session=str(first.cookies[0].value))
    person = await _person(alice, request)
    await sessions.end(first.session)
    assert await _end(request, await _flow(), person) is None
    assert await _sessions(alice.id) == [False]


async def test_another_person_s_session_at_this_browser_ends(alice: User, make_user: MakeUser) -> None:
    bob = await make_user()
    first = await _end(_request(), await _flow(), await _person(bob))
    assert first is not None
    elsewhere = await _end(_request(), await _flow(), await _person(bob))
    assert elsewhere is not None
    request = _request(session=str(first.cookies[0].value))
    assert await _end(request, await _flow(), await _person(alice, request)) is not None
    assert await _sessions(bob.id) == [False, True]
    assert await _sessions(alice.id) == [True]


async def test_single_session_mode(alice: User, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch) -> None:
    single = settings().model_copy(update={"single_session": True})
    bob = await make_user()
    for user in (alice, bob, alice):
        assert await _end(_request(), await _flow(), await _person(user)) is not None
    monkeypatch.setattr(completion, "settings", lambda: single)
    assert await _end(_request(), await _flow(), await _person(alice)) is not None
    assert await _sessions(alice.id) == [False, False, True]
    assert await _sessions(bob.id) == [True]


async def test_an_app_gets_a_session_of_its_own(alice: User) -> None:
    """Whatever cookies it sends, and it is not known again."""
    browser = await _end(_request(), await _flow(), await _person(alice))
    assert browser is not None
    request = _request(session=str(browser.cookies[0].value))
    person = await subject.of(alice.id, None)
    assert person is not None
    app = await completion.end(request, await _flow(), person, PASSWORD, browser=False, trust=False)
    assert app is not None
    assert app.cookies == ()
    assert await _sessions(alice.id) == [True, True]
    assert len(await fetch("SELECT 1 FROM device WHERE user_id = $1", alice.id)) == 1
