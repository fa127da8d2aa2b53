"""Row 31: the time of a refusal does not reveal whether a user exists."""

import asyncio
import random
import statistics
import time
from collections.abc import Callable

import pytest

from idp.accounts import email_proofs, passwords
from idp.accounts.tables import User
from idp.ids import random_token
from idp.infra.db.engine import execute, fetchrow, transaction
from idp.settings import settings
from idp.signin import flow as flows
from idp.signin import limits
from idp.signin.browser import BrowserKey
from idp.signin.steps import StepRefusedError, email_code
from tests.conftest import MakeUser
from tests.support.browser import Browser, Page, open_browser
from tests.support.server import Server

_PENDING = "SELECT 1 FROM mail WHERE next_attempt_at IS NOT NULL AND recipient = $1"

ATTEMPTS, ROUNDS = 1000, 4
#: The largest accepted difference of the medians.
ALLOWED_RATIO = 1.2
#: In KiB: a hash takes about as long as the rest of a refusal.
MEMORY_COST = 5120


def _unknown() -> str:
    return f"{random_token()[:20].lower()}@example.com"


@pytest.fixture
def costly_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users of these tests have hashes with the server's parameters."""
    dear = settings().model_copy(update={"argon2_memory_cost": MEMORY_COST})
    monkeypatch.setattr(passwords, "settings", lambda: dear)


@pytest.fixture
async def known(make_user: MakeUser, costly_hashing: None) -> User:
    return await make_user()


def _medians(times: dict[str, list[float]]) -> dict[str, float]:
    return {kind: statistics.median(seconds) for kind, seconds in times.items()}


def _are_alike(times: dict[str, list[float]]) -> bool:
    median = _medians(times)
    return 1 / ALLOWED_RATIO < median["known"] / median["unknown"] < ALLOWED_RATIO


async def _refusal(browser: Browser, page: Page, email: str) -> float:
    """The seconds that the server takes to say no, over HTTP."""
    await limits.unlock(email)
    form = page.forms[0]
    data = form.fields | {"username": email, "password": "not the password"}
    url = f"{browser.issuer}{form.action}"
    started = time.perf_counter()
    response = await browser.client.post(url, data=data, headers={"Origin": browser.issuer})
    seconds = time.perf_counter() - started
    assert response.status_code == 400
    return seconds


async def _hashing() -> float:
    """Return the seconds for verifying one wrong password."""
    started = time.perf_counter()
    assert not await passwords.verify_password(None, "not the password")
    return time.perf_counter() - started


def _would_notice(times: dict[str, list[float]]) -> bool:
    """Return whether an unknown user would be noticed if no hash were verified.

    The fastest tenth of each is used, because hashing was measured here and not in the server, where other work may
    disturb it.
    """
    quick = {kind: statistics.quantiles(seconds, n=10)[0] for kind, seconds in times.items()}
    return quick["known"] / (quick["unknown"] - quick["hashing"]) > ALLOWED_RATIO * 1.1


async def test_31_an_unknown_user_costs_as_much_as_a_known_one(
    start_server: Callable[..., Server], known: User
) -> None:
    """Up to a thousand of each, in pairs of random order, so that other load affects both equally."""
    server = await asyncio.to_thread(start_server, IDP_ARGON2_MEMORY_COST=str(MEMORY_COST))
    times: dict[str, list[float]] = {"known": [], "unknown": [], "hashing": []}
    async with open_browser(server.issuer) as browser:
        page = await browser.get("/login")
        assert isinstance(page, Page)
        for attempt in range(ATTEMPTS):
            for kind in random.sample(["known", "unknown"], 2):
                times[kind].append(await _refusal(browser, page, known.email if kind == "known" else _unknown()))
            if attempt % 5 == 0:
                times["hashing"].append(await _hashing())
            # More where the machine is busy with other things: a difference that is the server's stays.
            if (attempt + 1) % (ATTEMPTS // ROUNDS) == 0 and _are_alike(times) and _would_notice(times):
                break
    assert _are_alike(times)
    assert _would_notice(times), _medians(times)


async def _settled(recipient: str) -> None:
    async with asyncio.timeout(20):
        while await fetchrow(_PENDING, recipient) is not None:
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("path", ["email_code", "forgot", "registration"])
async def test_31_a_mail_that_is_sent_costs_as_much_as_one_that_is_not(
    browser: Browser, alice: User, path: str
) -> None:
    """Both are written down, one of them to be sent."""
    page = await browser.get("/login")
    assert isinstance(page, Page)
    url = f"{browser.issuer}{page.forms[0].action.rpartition('/')[0]}/{path}"
    fields = page.forms[0].fields | {"action": "send"}
    if path == "registration":
        fields |= {"password": "five odd fishes swim", "action": "register"}

    async def seconds(email: str) -> float:
        await execute("DELETE FROM throttle WHERE rule LIKE 'mails%'")
        await execute("DELETE FROM mail WHERE recipient = $1", email)
        started = time.perf_counter()
        response = await browser.client.post(url, data=fields | {"username": email}, headers={"Origin": browser.issuer})
        took = time.perf_counter() - started
        assert response.status_code == 303
        # Mail that the server sends in the background would add to the time of the next request.
        await _settled(email)
        return took

    times: dict[str, list[float]] = {"known": [], "unknown": []}
    # Again where the machine is busy with other things: a difference that is the server's stays.
    for _ in range(ROUNDS):
        for _ in range(ATTEMPTS // 8):
            for kind in random.sample(["known", "unknown"], 2):
                times[kind].append(await seconds(alice.email if kind == "known" else _unknown()))
        if _are_alike(times):
            break
    assert _are_alike(times), _medians(times)


@pytest.mark.parametrize("tried", [0, email_proofs.TRIES])
@pytest.mark.parametrize("field", ["code", "token"])
async def test_31_a_wrong_code_or_link_writes_the_same(make_user: MakeUser, field: str, tried: int) -> None:
    """What a transaction writes decides whether its commit waits for the disk. A lock of a row is written too."""
    written = []
    for user in (await make_user(), None):
        flow = await flows.load_bound(await flows.start(BrowserKey.new(), "/"))
        await email_proofs.create(
            email_proofs.Purpose.SIGN_IN,
            user.email if user else _unknown(),
            lifetime=600,
            flow_id=flow.binding.id,
            user_id=user.id if user else None,
            decoy=user is None,
        )
        for _ in range(tried):
            assert await email_proofs.consume_code(email_proofs.Purpose.SIGN_IN, flow.binding.id, "-") is None
        async with transaction():
            with pytest.raises(StepRefusedError):
                await email_code.complete(flow, {field: "-"})
            row = await fetchrow("SELECT pg_current_xact_id_if_assigned() IS NOT NULL AS writes")
        assert row is not None
        written.append(row["writes"])
    assert written == [field == "code" and not tried] * 2
