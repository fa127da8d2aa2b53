"""Row 33: a client cannot choose the address by which it is counted, and a missing address is counted too.

How the address is read from the headers is tested in tests/http/test_client_address.py.
"""

import secrets
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import execute
from idp.infra.networks import subjects
from idp.signin import limits
from tests.conftest import MASTER_KEY
from tests.support.browser import Browser, as_page, open_browser
from tests.support.limits import keep_waiting
from tests.support.oauth import PASSWORD
from tests.support.server import Server

BURST = limits.STEPS_OF_HOST.burst

SPELLINGS = [
    ("192.0.2.7", "192.0.2.7/32", "192.0.2.0/24"),
    ("::ffff:192.0.2.7", "192.0.2.7/32", "192.0.2.0/24"),
    ("[::ffff:c000:207]", "192.0.2.7/32", "192.0.2.0/24"),
    ("2001:db8:1:2::1", "2001:db8:1:2::/64", "2001:db8:1::/48"),
    ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64", "2001:db8:1::/48"),
    ("2001:0DB8:0001:0002:0:0:0:9", "2001:db8:1:2::/64", "2001:db8:1::/48"),
]


@pytest.mark.parametrize(("address", "host", "network"), SPELLINGS)
def test_33_the_counted_subject(address: str, host: str, network: str) -> None:
    """A whole /64 is one household's: its addresses are no way to be many."""
    assert subjects(address) == (host, network)


@pytest.mark.parametrize("text", ["", "unknown", "x", "192.0.2.7:80", "192.0.2.999", "fe80::1%eth0", "\0", "::g"])
def test_33_without_an_address_all_are_one(text: str) -> None:
    """Requests without an address are limited together."""
    assert subjects(text) == ("unknown", "unknown")


@pytest.fixture(scope="module")
def behind_a_proxy(db: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that believes its proxy, which is this machine."""
    server = Server(
        tmp_path_factory.mktemp("proxied"),
        IDP_DATABASE_URL=db,
        IDP_MASTER_KEY=MASTER_KEY,
        IDP_TRUSTED_PROXIES="127.0.0.0/8",
    )
    yield server
    server.stop()


@pytest.fixture(autouse=True)
async def uncounted(db: str) -> AsyncIterator[None]:
    """Everybody in these tests comes from here."""
    await execute("DELETE FROM throttle")
    yield
    await execute("DELETE FROM throttle")


async def _tries(browser: Browser, forwarded: Callable[[int], str], most: int = BURST + 180) -> list[int]:
    """Wrong passwords of many people, more than one host may try, until one is refused."""
    page = as_page(await browser.get("/login"))
    statuses = []
    # A slow machine gives some of the budget back meanwhile.
    for number in range(most):
        browser.client.headers["x-forwarded-for"] = forwarded(number)
        page = as_page(await browser.sign_in(page, f"{secrets.token_hex(6)}@example.com", "not it at all"))
        statuses.append(page.status)
        if page.status == 429:
            break
    return statuses


SPOOFED: dict[str, Callable[[int], str]] = {
    # The proxy appends the address it saw, so the last entry is its own. The client sent the entries before it.
    "more entries": lambda n: f"192.0.2.{n}, 198.51.100.7",
    "private entries": lambda n: f"10.0.0.{n}, 127.0.0.{n}, 198.51.100.7",
    "one /64": lambda n: f"2001:db8:1:2:{n:x}::1",
    "spellings of one": lambda n: ["198.51.100.7", "::ffff:198.51.100.7", "[::ffff:c633:6407]"][n % 3],
    "no address": lambda n: f"unknown-{n}",
    "a port": lambda n: f"198.51.100.7:{n}",
    "a port in brackets": lambda n: f"[::ffff:198.51.100.7]:{n}",
    "a zone": lambda n: f"fe80::1%{n}",
}


@pytest.mark.parametrize("forwarded", SPOOFED.values(), ids=SPOOFED)
async def test_33_many_spellings_of_one_host(behind_a_proxy: Server, forwarded: Callable[[int], str]) -> None:
    async with open_browser(behind_a_proxy.issuer) as browser:
        statuses = await _tries(browser, forwarded)
    assert statuses[:BURST] == [400] * BURST
    assert 429 in statuses


async def test_33_different_hosts_are_different(behind_a_proxy: Server) -> None:
    """The control: the limit does not apply to everyone together."""
    async with open_browser(behind_a_proxy.issuer) as browser:
        statuses = await _tries(browser, lambda n: f"198.51.{n}.7", BURST + 20)
    assert set(statuses) == {400}


async def test_33_from_everywhere_at_one_account(behind_a_proxy: Server, alice: User) -> None:
    """A network of many hosts is stopped by the account's own limit, even with the right password."""
    async with open_browser(behind_a_proxy.issuer) as browser:
        page = as_page(await browser.get("/login"))
        statuses = []
        for number in range(limits.PASSWORDS.free + 1):
            browser.client.headers["x-forwarded-for"] = f"198.51.{number}.7"
            page = as_page(await browser.sign_in(page, alice.email, f"not it, {number}"))
            statuses.append(page.status)
            await keep_waiting(limits.PASSWORDS)
        assert statuses == [400] * limits.PASSWORDS.free + [429]
        browser.client.headers["x-forwarded-for"] = "203.0.113.1"
        assert as_page(await browser.sign_in(page, alice.email, PASSWORD)).status == 429
        assert not browser.signed_in
