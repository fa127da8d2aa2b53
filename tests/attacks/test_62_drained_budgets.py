"""Row 62: strangers cannot use up the limits of a user's own browser, and refused requests are not counted."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from idp import ids
from idp.accounts.tables import User
from idp.accounts.users import create_user
from idp.errors import TooManyRequestsError
from idp.federation.linking import ExternalIdentity
from idp.infra import rate_limits
from idp.infra.db.engine import execute, fetch
from idp.infra.request_context import client_address
from idp.settings import DAY
from idp.signin import limits, service
from idp.signin.browser import Browser, BrowserKey
from idp.signin.flow import Flow
from idp.signin.repository.devices import DeviceUse, insert_device
from idp.signin.repository.subjects import subject_by_id
from idp.signin.transitions import SECOND, Step
from tests.conftest import MakeUser
from tests.support.browser import Browser as HttpBrowser
from tests.support.browser import Page, as_page, open_browser
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.server import Server

pytestmark = pytest.mark.fault(4)


def _browser(device: str | None = None) -> Browser:
    """A browser with this device cookie."""
    return Browser(device_token=device)


async def _own_browser(user: User) -> Browser:
    """A browser that the user signed in with before, with a second factor too."""
    device = ids.random_token()
    await insert_device(ids.uuid7(), DeviceUse(user.id, ids.digest(device), None, second_step=True, lifetime=DAY))
    return _browser(device)


def _network() -> str:
    """The first three numbers of a network that no other test uses."""
    return f"10.{secrets.randbelow(256)}.{secrets.randbelow(256)}"


async def _from(address: str, act: Awaitable[Any]) -> bool:
    """Return whether an action from this address is allowed."""
    token = client_address.set(address)
    try:
        await act
    except TooManyRequestsError:
        return False
    finally:
        client_address.reset(token)
    return True


async def _counts() -> list[Any]:
    return [tuple(row) for row in await fetch("SELECT key, number, free_at FROM throttle ORDER BY key")]


async def _pass(seconds: float) -> None:
    """Move the stored times, because the clock of the database cannot be moved."""
    await execute("UPDATE throttle SET free_at = free_at - make_interval(secs => $1)", float(seconds))


class _Budget:
    """The rate that docs/abuse.md promises, measured by the clock of the test."""

    def __init__(self, *rates: rate_limits.Rate) -> None:
        self.free_at = dict.fromkeys(rates, 0.0)

    def spend(self, now: float) -> bool:
        if any(free_at - rate.interval * (rate.burst - 1) > now for rate, free_at in self.free_at.items()):
            return False
        self.free_at = {rate: max(free_at, now) + rate.interval for rate, free_at in self.free_at.items()}
        return True


class _World:
    """An owner with a browser of her own, strangers around her, and a clock."""

    def __init__(self, owner: User, own: Browser, network: str) -> None:
        self.owner, self.own, self.network = owner, own, network
        self.now, self.started = 0.0, time.monotonic()
        self.steps = _Budget(limits.STEPS_OF_PERSON)
        self.mails = _Budget(limits.MAILS_TO_PERSON, limits.MAILS_TO_PERSON_A_DAY, limits.STEPS_OF_PERSON)
        # Both kinds of event use up the steps.
        self.mailed_by_strangers = 0

    async def wait(self, seconds: float) -> None:
        self.now += seconds
        await _pass(seconds)

    async def strangers(self, kind: str, host: int, times: int) -> None:
        """One host does something over and over, until it is refused. The refusal changes nothing."""
        acts: dict[str, Callable[[], Awaitable[Any]]] = {
            "mail": lambda: limits.count_mail(self.owner.email, _browser()),
            "mails to anybody": lambda: limits.count_mail(f"{secrets.token_hex(4)}@example.com", _browser()),
            "password": lambda: limits.count_password(self.owner.email, self.owner.email, _browser()),
            "second step": lambda: limits.count_second_step(self.owner.id, _browser()),
            "step": lambda: limits.count_step(_browser()),
        }
        # The first host is that of the owner, as in an office or behind a provider's NAT.
        address = f"{self.network}.{host}"
        for _ in range(times):
            before = await _counts()
            if not await _from(address, acts[kind]()):
                assert await _counts() == before
                return
            self.mailed_by_strangers += kind == "mail"

    async def owns(self, kind: str) -> None:
        """The owner does something at her browser, if the documentation promises that she may."""
        acts: dict[str, Callable[[], Awaitable[Any]]] = {
            "mail": lambda: limits.count_mail(self.owner.email, self.own),
            "password": lambda: limits.count_password(self.owner.email, self.owner.email, self.own),
            "second step": lambda: limits.count_second_step(self.owner.id, self.own),
            "step": lambda: limits.count_step(self.own),
        }
        budget = self.mails if kind == "mail" else self.steps
        if not budget.spend(self.now):
            return
        for other in {self.mails, self.steps} - {budget}:
            other.free_at[limits.STEPS_OF_PERSON] = budget.free_at[limits.STEPS_OF_PERSON]
        assert await _from(f"{self.network}.0", acts[kind]()), f"the owner is refused: {kind}"
        if kind in ("password", "second step"):
            await self._signed_in()

    async def _signed_in(self) -> None:
        """Record a sign-in, which resets her own attempts."""
        person = await subject_by_id(self.owner.id, self.own)
        assert person is not None
        await limits.forget_attempts(person, passwords=True, second_steps=True)

    def check(self) -> None:
        """Check the limits, including that of her mailbox."""
        elapsed = self.now + time.monotonic() - self.started
        a_day = limits.MAILS_TO_ADDRESS_A_DAY
        assert self.mailed_by_strangers <= a_day.burst + elapsed / a_day.interval + 1


_STRANGERS = st.tuples(
    st.just("strangers"),
    st.sampled_from(["mail", "mails to anybody", "password", "second step", "step"]),
    st.integers(0, 3),
    st.sampled_from([1, 4, 65]),
)
_OWNER = st.tuples(st.just("owns"), st.sampled_from(["mail", "password", "second step", "step"]))
_WAIT = st.tuples(st.just("wait"), st.sampled_from([1, 30, 61, 3600, 90_000]))


@hypothesis_settings(max_examples=25)
@given(st.lists(_STRANGERS | _STRANGERS | _OWNER | _WAIT, min_size=4, max_size=14))
async def test_62_the_owner_is_never_locked_out(db: str, actions: list[tuple[Any, ...]]) -> None:
    """Strangers use any number of hosts, including the owner's. The owner keeps everything that the documentation
    promises.
    """
    owner = await create_user(f"{secrets.token_hex(6)}@example.com", None)
    world = _World(owner, await _own_browser(owner), _network())
    for name, *arguments in actions:
        await getattr(world, name)(*arguments)
    for kind in ("mail", "password", "second step", "step"):
        await world.owns(kind)
    world.check()


async def test_62_refused_mails_do_not_spend_those_of_the_day(alice: User) -> None:
    """22 requests within two seconds once took all mail from a person for an hour and a half."""
    own, network = await _own_browser(alice), _network()
    asked = [await _from(f"{network}.{number}", limits.count_mail(alice.email, _browser())) for number in range(22)]
    assert asked == [True] * 3 + [False] * 19
    assert await _from(f"{network}.99", limits.count_mail(alice.email, own))
    await _pass(limits.MAILS_TO_ADDRESS.interval)
    assert await _from(f"{network}.99", limits.count_mail(alice.email, _browser()))


async def test_62_one_host_does_not_spend_its_network(db: str) -> None:
    """A request refused by the host's limit is not counted for the network, nor for a user."""
    network = _network()
    allowed = [await _from(f"{network}.1", limits.count_step(_browser())) for _ in range(700)]
    # The attempts take some seconds, in which a few more become available.
    assert limits.STEPS_OF_HOST.burst <= sum(allowed) < limits.STEPS_OF_NETWORK.burst / 4
    assert await _from(f"{network}.2", limits.count_step(_browser()))
    email = f"{secrets.token_hex(6)}@example.com"
    assert not await _from(f"{network}.1", limits.count_password(email, email, _browser()))
    assert await rate_limits.spend((limits.PASSWORDS, email)) == 1


async def test_62_a_device_has_a_budget_for_its_own_person_only(make_user: MakeUser, alice: User) -> None:
    """Mallory's own browser is known, to Mallory's account: at others' it is a stranger's. And it has bounds too."""
    own, network = await _own_browser(await make_user()), _network()
    asked = [await _from(f"{network}.1", limits.count_mail(alice.email, own)) for _ in range(4)]
    assert asked == [True] * 3 + [False]
    assert await _from(f"{network}.2", limits.count_mail(alice.email, await _own_browser(alice)))
    tries = [await _from(f"{network}.1", limits.count_step(own)) for _ in range(limits.STEPS_OF_PERSON.burst * 3)]
    assert limits.STEPS_OF_PERSON.burst <= sum(tries) < limits.STEPS_OF_PERSON.burst * 3


class _CountedError(Exception):
    pass


@pytest.mark.parametrize("step", service.AUTHENTICATION_METHODS)
@pytest.mark.parametrize("action", ["", "send", "totp", "passkey", "skip", "restart"])
async def test_62_each_step_is_counted_first(
    monkeypatch: pytest.MonkeyPatch, alice: User, step: Step, action: str
) -> None:
    """Before anything is hashed, verified, mailed or refused, at every step and with any input."""

    async def counted(*arguments: Any) -> None:
        raise _CountedError

    for name in ("count_step", "count_mail", "count_second_step", "count_password"):
        monkeypatch.setattr(limits, name, counted)
    user_id: UUID | None = alice.id if step in (*SECOND, Step.ENROL) else None
    identity = (
        ExternalIdentity("google", "https://issuer", "subject", alice.email, False, {})
        if step is Step.UPSTREAM
        else None
    )
    flow = Flow(BrowserKey.new().bind(), "/", None, "", None, user_id=user_id, identity=identity)
    for username in (alice.email, "not an address"):
        fields = {"action": action, "username": username}
        with pytest.raises(_CountedError):
            await service.AUTHENTICATION_METHODS[step].verify(flow, fields, _browser())


async def _attack(server: Server, email: str) -> None:
    """Wrong passwords and mails from one host, of which everything is spent for an hour."""
    async with open_browser(server.issuer) as stranger:
        page = as_page(await stranger.get("/login"))
        for _ in range(limits.PASSWORDS.free):
            await stranger.sign_in(page, email, "not it")
        for _ in range(limits.MAILS_TO_ADDRESS.burst):
            await stranger.ask_for_code(page, email)
    spent = [limits.STEPS_OF_HOST, limits.STEPS_OF_NETWORK, limits.MAILS_FROM_HOST, limits.MAILS_TO_ADDRESS]
    await execute(
        "UPDATE throttle SET number = number + 10, free_at = now() + interval '1 hour' WHERE rule = ANY($1)",
        [rule.name for rule in (*spent, limits.PASSWORDS)],
    )


async def test_62_over_http(
    start_server: Callable[..., Server], client: RelyingParty, alice: User, mailbox: Mailbox
) -> None:
    """The owner signs in by mail and by password while her whole host is refused."""
    server = await asyncio.to_thread(start_server, IDP_ADDRESS_LIMITS="true", IDP_SMTP_URL=mailbox.url)
    try:
        async with open_browser(server.issuer) as own, open_browser(server.issuer) as fresh:
            await _signed_in(own, alice.email)
            await _attack(server, alice.email)
            page = as_page(await fresh.sign_in(as_page(await fresh.get("/login")), alice.email, PASSWORD))
            assert page.status == 429
            own.cookies.pop("__Host-session")
            await _signed_in(own, alice.email)
            own.cookies.pop("__Host-session")
            sent = as_page(await own.ask_for_code(as_page(await own.get("/login")), alice.email))
            assert sent.status == 200
    finally:
        await execute("DELETE FROM throttle")


async def _signed_in(browser: HttpBrowser, email: str) -> None:
    page = await browser.sign_in(as_page(await browser.get("/login")), email, PASSWORD)
    assert isinstance(page, Page)
    assert browser.signed_in, page.text
