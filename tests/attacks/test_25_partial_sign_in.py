"""Row 25: the sign-in walked through over HTTP as its state machine draws it, by the pages and by the JSON interface.

At every place that can be reached, every step is sent empty, wrong, and as right as it can be: those that are not
allowed there change nothing, whatever they bring, and no session begins before the machine says so.
"""

import secrets
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import httpx
import pyotp
import pytest

from idp.accounts.repository.users import user_by_id
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.signin import flow as flows
from idp.signin.browser import BrowserBinding
from idp.signin.csrf import form_token
from idp.signin.factors import passkeys, totp
from idp.signin.factors.repository import find_totp
from idp.signin.flow import Flow
from idp.signin.transitions import (
    FIRST,
    MULTI_FACTOR,
    SECOND,
    SINGLE_FACTOR,
    CompletedStep,
    State,
    Step,
    allowed,
    complete,
    reached,
)
from tests.conftest import MakeClient, MakeUser
from tests.support.authenticator import Authenticator
from tests.support.bindings import binding_of
from tests.support.browser import Browser, Page, open_browser
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.person import Person, equip
from tests.support.server import Server


class Case(NamedTuple):
    """A user and the purpose of the sign-in."""

    has: tuple[Step, ...]
    two_step: bool
    acr: str
    insist: bool

    def __str__(self) -> str:
        return f"{'+'.join(self.has) or 'none'}-{'always' if self.two_step else 'seldom'}-{self.acr}" + (
            "-insist" if self.insist else ""
        )


CASES = [
    Case((), False, "1", False),
    Case((), False, "2", False),
    Case((), False, "2", True),
    Case((), False, "phr", True),
    Case((Step.TOTP,), True, "1", False),
    Case((Step.TOTP,), True, "phr", False),
    Case((Step.TOTP,), False, "phr", True),
    Case((Step.PASSKEY,), True, "1", False),
    Case(SECOND, True, "1", False),
    Case(SECOND, False, "2", True),
    Case(SECOND, True, "phr", True),
]


class Door(Protocol):
    """A way to talk to the engine."""

    binding: BrowserBinding

    async def open(self) -> BrowserBinding:
        """Begin a sign-in."""

    async def send(self, step: Step, fields: dict[str, str]) -> httpx.Response:
        """Take a step."""

    def is_in(self) -> bool:
        """Return whether the sign-in led to a session or a code."""


class Pages:
    """The hosted pages, in a fresh browser each time."""

    def __init__(self, client: RelyingParty, case: Case, browser: Browser) -> None:
        self.client, self.case, self.browser = client, case, browser

    async def open(self) -> BrowserBinding:
        self.browser.cookies.clear()
        page = await self.client.authorize(self.browser, acr_values=self.case.acr)
        assert isinstance(page, Page)
        self.binding = binding_of(self.browser, page.path.split("/")[2])
        return self.binding

    async def send(self, step: Step, fields: dict[str, str]) -> httpx.Response:
        token = form_token(self.binding.secret, "login")
        answer = await self.browser.client.post(
            f"{self.browser.issuer}/login/{self.binding.id}/{step}",
            data=fields | {"csrf_token": token},
            headers={"Origin": self.browser.issuer},
        )
        if (moved := answer.headers.get("location", "")).startswith("/login/"):
            # The flow gets another key once its user is known.
            self.binding = binding_of(self.browser, moved.split("/")[2])
        return answer

    def is_in(self) -> bool:
        return self.browser.signed_in


class App:
    """The authorization challenge endpoint."""

    def __init__(self, client: RelyingParty, case: Case) -> None:
        self.client, self.case = client, case

    async def open(self) -> BrowserBinding:
        parameters = self.client.parameters(redirect_uri=None, response_type=None, state=None, acr_values=self.case.acr)
        self.answers = [await self.client.post("/challenge", **parameters)]
        self.session = self.answers[0].json()["auth_session"]
        self.binding = BrowserBinding(*self.session.split("."))
        return self.binding

    async def send(self, step: Step, fields: dict[str, str]) -> httpx.Response:
        self.answers.append(await self.client.post("/challenge", auth_session=self.session, step=step, **fields))
        return self.answers[-1]

    def is_in(self) -> bool:
        return any("authorization_code" in answer.json() for answer in self.answers)


class Walker:
    """A user who takes steps correctly and incorrectly."""

    def __init__(self, door: Door, origin: str, person: Person, mailbox: Mailbox) -> None:
        self.door, self.origin, self.person, self.mailbox = door, origin, person, mailbox

    async def begin(self) -> None:
        """Start a sign-in in which everything has been requested that can be: a code, an account."""
        await execute("DELETE FROM throttle")
        await self.door.open()
        self.newcomer = f"{secrets.token_hex(6)}@example.com"
        mails = len(self.mailbox.to(self.person.user.email))
        await self.door.send(Step.REGISTRATION, {"username": self.newcomer, "password": PASSWORD})
        await self.door.send(Step.EMAIL_CODE, {"action": "send", "username": self.person.user.email})
        self.codes = {
            Step.EMAIL_CODE: (await self.mailbox.next(self.person.user.email, mails + 1)).code,
            Step.REGISTRATION: (await self.mailbox.next(self.newcomer)).code,
        }

    async def flow(self) -> Flow:
        return await flows.load_bound(self.door.binding)

    async def right(self, step: Step, flow: Flow) -> dict[str, str]:
        """The best that the owner of the account could enter."""
        match step:
            case Step.PASSWORD:
                return {"username": self.person.user.email, "password": PASSWORD}
            case Step.EMAIL_CODE | Step.REGISTRATION:
                return {"code": self.codes[step]}
            case Step.PASSKEY:
                device = self.person.device or Authenticator(user_handle=self.person.user.id.bytes)
                return {"credential": device.get(passkeys.authentication_options(flow.challenge))}
            case Step.TOTP:
                return {"code": await self.person.otp() if self.person.app else "123456"}
            case Step.RECOVERY_CODE:
                return {"code": self.person.codes.pop() if self.person.codes else "abcd-efgh-jkmn"}
            case Step.UPSTREAM:
                return {"state": "x" * 43, "code": "x", "upstream": "google"}
            case Step.ENROL:
                return await self._factor(flow)
            case Step.ATTRIBUTES:
                return {"attributes": "a", "attributes.a": "x"}

    async def _factor(self, flow: Flow) -> dict[str, str]:
        """A new factor, or where none is insisted on, none."""
        user = await user_by_id(flow.user_id or self.person.user.id)
        assert user is not None
        if flow.required != flow.acr:
            return {"action": "skip"}
        if flow.acr == MULTI_FACTOR:
            if await find_totp(user.id) is not None:
                return {"action": "totp", "code": await self.person.otp()}
            setup = await totp.start_setup(user.id, flow.binding.id, user.email)
            return {"action": "totp", "code": pyotp.TOTP(setup.secret).now()}
        options = passkeys.registration_options(user, flow.challenge, [])
        return {"action": "passkey", "credential": Authenticator(origin=self.origin).create(options)}

    async def go(self, prefix: tuple[Step, ...]) -> None:
        await self.begin()
        for step in prefix:
            await self.door.send(step, await self.right(step, await self.flow()))


WRONG = [
    {}, {"username": "", "password": "", "code": "", "otp": "", "credential": "", "token": "", "action": ""},
    {"code": "000000", "credential": "{}", "username": "nobody@example.com", "password": "x", "token": "x"},
]  # fmt: skip


def outcome(step: Step, state: State) -> Step:
    """Return the step that a correct response completes."""
    if step is not Step.ENROL or state.required != state.acr:
        return step
    return Step.TOTP if state.acr == MULTI_FACTOR else Step.PASSKEY


def after(state: State, step: Step) -> State:
    """Return the state after a correct response, by the state machine alone."""
    taken = outcome(step, state)
    state = State(
        (*state.done, CompletedStep(taken)), state.offered, state.has, state.two_step, state.acr, state.required
    )
    if taken is Step.REGISTRATION:
        return State(state.done, state.offered, frozenset(), False, state.acr, state.required)
    if step is Step.ENROL and taken is not Step.ENROL:
        return State(state.done, state.offered, state.has | {taken}, True, state.acr, state.required)
    return state


def walks(state: State, prefix: tuple[Step, ...] = ()) -> Iterator[tuple[tuple[Step, ...], State]]:
    """Return every path through the state machine for this user, and its end."""
    yield prefix, state
    for step in allowed(state):
        yield from walks(after(state, step), (*prefix, step))


@pytest.fixture(params=["pages", "app"])
async def door(request: pytest.FixtureRequest, server: Server, make_client: MakeClient) -> Any:
    """Makes a door for a case."""
    async with open_browser(server.issuer) as browser:

        async def make(case: Case) -> Door:
            more = {"default_acr_values": [case.acr]} if case.insist else {}
            if request.param == "pages":
                return Pages(await make_client(skip_consent=True, **more), case, browser)
            return App(await make_client(skip_consent=True, authorization_challenge=True, **more), case)

        yield make


async def _sessions(user_id: UUID | None) -> int:
    return len(await fetch("SELECT 1 FROM session WHERE user_id = $1", user_id))


async def _place(walker: Walker) -> tuple[Any, ...]:
    row = await fetchrow("SELECT user_id, done, finished_at FROM signin_flow WHERE id = $1", walker.door.binding.id)
    assert row is not None
    return tuple(row)


async def _try_all(walker: Walker, state: State) -> None:
    """Send every step wrongly, and those that are not allowed here rightly too. Nothing must move."""
    place = await _place(walker)
    users = {walker.person.user.id, place[0]}
    before = [await _sessions(user) for user in users]
    for step in Step:
        bodies = [*WRONG, *([] if step in allowed(state) else [await walker.right(step, await walker.flow())])]
        for body in bodies:
            answer = await walker.door.send(step, body)
            assert answer.status_code < 500
            assert await _place(walker) == place, (step, body)
            assert not walker.door.is_in(), (step, body)
    assert [await _sessions(user) for user in users] == before


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_25_every_way_through(
    case: Case, door: Any, server: Server, make_user: MakeUser, mailbox: Mailbox
) -> None:
    # Accounts at other providers have their own paths.
    offered = frozenset(FIRST) - {Step.UPSTREAM}
    required = case.acr if case.insist else SINGLE_FACTOR
    start = State((), offered, frozenset(case.has), case.two_step, case.acr, required)
    way_in = await door(case)
    for prefix, state in walks(start):
        # A new user each time: enrolling changes the factors of the user.
        person = await equip(await make_user(), server.issuer, case.has, two_step=case.two_step)
        walker = Walker(way_in, server.issuer, person, mailbox)
        if Step.PASSKEY in prefix[:1] and person.device is None:
            continue
        await walker.go(prefix)
        user_id, done, finished_at = await _place(walker)
        assert [CompletedStep.parse(text).step for text in done] == [taken.step for taken in state.done], prefix
        assert (finished_at is not None) == complete(state) == way_in.is_in()
        if complete(state):
            (session,) = await fetch("SELECT acr FROM session WHERE user_id = $1", user_id)
            assert session["acr"] == reached(state.done)
        else:
            await _try_all(walker, state)
