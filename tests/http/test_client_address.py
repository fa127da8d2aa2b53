"""The address of the client: X-Forwarded-For is read up to the first hop that is not a trusted proxy."""

import ipaddress
import re
from pathlib import Path

import pytest
from structlog.testing import capture_logs

import idp
from idp.accounts.tables import User
from idp.http import client_address as addresses
from idp.http.client_address import client_address
from idp.infra.db.engine import fetchrow
from idp.infra.networks import PROBE
from idp.settings import IPNetwork
from tests.conftest import MakeClient
from tests.support.browser import Browser

PROXIES = ("10.0.0.0/8", "192.0.2.1/32", "fd00::/8")


def address(peer: str | None, *forwarded: str, trusted: tuple[str, ...] = PROXIES) -> str:
    """The answer for a connection from ``peer`` with these X-Forwarded-For headers."""
    networks: tuple[IPNetwork, ...] = tuple(map(ipaddress.ip_network, trusted))
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    client = (peer, 50000) if peer is not None else None
    return client_address({"client": client, "headers": headers}, networks)  # type: ignore[arg-type, typeddict-item]


def test_without_proxies_the_header_means_nothing() -> None:
    assert address("203.0.113.7", "198.51.100.1", trusted=()) == "203.0.113.7"
    assert address("127.0.0.1", "198.51.100.1", trusted=()) == "127.0.0.1"


def test_a_stranger_is_not_believed() -> None:
    assert address("203.0.113.7", "198.51.100.1") == "203.0.113.7"
    assert address("203.0.113.7", "10.0.0.1, 10.0.0.2") == "203.0.113.7"


def test_a_trusted_proxy_is_believed() -> None:
    assert address("10.0.0.1", "198.51.100.1") == "198.51.100.1"
    assert address("192.0.2.1", " 198.51.100.1 ") == "198.51.100.1"
    assert address("fd00::1", "2001:db8::1") == "2001:db8::1"


def test_only_the_entry_of_the_last_trusted_proxy_is_used() -> None:
    """The client may have sent the entries left of it."""
    assert address("10.0.0.1", "1.1.1.1, 198.51.100.1") == "198.51.100.1"
    assert address("10.0.0.1", "10.9.9.9, 198.51.100.1") == "198.51.100.1"
    assert address("10.0.0.1", "1.1.1.1, 198.51.100.1, 10.0.0.2, 192.0.2.1") == "198.51.100.1"


def test_several_headers_are_one_list() -> None:
    assert address("10.0.0.1", "1.1.1.1", "198.51.100.1, 10.0.0.2") == "198.51.100.1"


def test_a_request_from_inside_is_from_the_first_proxy() -> None:
    assert address("10.0.0.1") == "10.0.0.1"
    assert address("10.0.0.1", "10.0.0.3, 10.0.0.2") == "10.0.0.3"


@pytest.mark.parametrize(
    "entry",
    [
        "", "unknown", "_hidden", "localhost", "198.51.100.256", "1", "0x7f.1",
        "010.0.0.1", "198.51.100.1\0", "198.51.100.1/32", "::1%eth0", "fe80::1%" + "x" * 5000, "\xff", "' OR 1=1 --",
        "for=198.51.100.1", "198.51.100.1;10.0.0.1", "9" * 100000,
        "198.51.100.1:", "198.51.100.1:x", "198.51.100.1:123456", ":443", "2001:db8::1]:443", "[2001:db8::1]443",
        "[fe80::1%eth0]:443", "198.51.100.1:443:443", "[198.51.100.1:443", "198.51.100.1 :443",
    ],
    ids=lambda entry: ascii(entry)[:30],
)  # fmt: skip
def test_an_entry_that_is_not_an_address_ends_the_reading(entry: str) -> None:
    """Fail closed: the result is the last hop that is known for certain, never an entry left of the invalid one."""
    assert address("10.0.0.1", entry) == "10.0.0.1"
    assert address("10.0.0.1", f"1.1.1.1, {entry}, 10.0.0.2") == "10.0.0.2"


@pytest.mark.fault(21)
@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("198.51.100.1:5678", "198.51.100.1"),
        ("[2001:db8::1]:80", "2001:db8::1"),
        ("[::1]:80", "::1"),
        ("[::ffff:198.51.100.1]:65535", "198.51.100.1"),
        ("198.51.100.1:0", "198.51.100.1"),
    ],
)
def test_an_entry_may_have_a_port(entry: str, expected: str) -> None:
    """Azure's gateways write a port. If it were not parsed, all their clients would share one address."""
    assert address("10.0.0.1", entry) == expected
    assert address("10.0.0.1", f"1.1.1.1, {entry}, 10.0.0.2:443") == expected


@pytest.mark.fault(14, 21)
def test_an_ignored_header_is_told_once_and_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "_warned", set())
    with capture_logs() as logs:
        for _ in range(3):
            address("203.0.113.7", "198.51.100.1", trusted=())
            address("10.0.0.1", "unknown")
        address("10.0.0.1", "198.51.100.1:5678")
        address("203.0.113.8")
        address("203.0.113.9", PROBE, trusted=())  # of `idp doctor`
        told = [(line["event"], line["host"]) for line in logs]
        for number in range(1000):
            address(f"203.0.113.{number % 256}", "198.51.100.1", trusted=())
    assert told == [("forwarded_address_ignored", "203.0.113.7"), ("forwarded_address_ignored", "10.0.0.1")]
    assert len(logs) == addresses.MAX_WARNINGS


@pytest.mark.fault(21)
def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long header needs no memory beyond the request; its end is read as usual."""
    read = []

    def remember(peer: str, forwarded: str, proxies: tuple[IPNetwork, ...]) -> tuple[str, str]:
        read.append(len(forwarded))
        return uncached(peer, forwarded, proxies)

    uncached = addresses._client_address.__wrapped__
    monkeypatch.setattr(addresses, "_client_address", remember)
    for filler in ("1.1.1.1, " * 5000, "x" * 60000 + ", ", "1" * 60000 + ".1.1.1, "):
        assert address("10.0.0.1", f"{filler}198.51.100.1, 10.0.0.2") == "198.51.100.1"
        assert address("203.0.113.7", f"{filler}198.51.100.1") == "203.0.113.7"
    # Half an entry, where the header is cut, does not count.
    assert address("10.0.0.1", f"2001:db8::1234{',10.0.0.2' * 56}") == "10.0.0.2"
    assert max(read) < 600


@pytest.mark.parametrize("peer", [None, "", "unix:", "/run/idp.sock"])
def test_a_transport_without_addresses(peer: str | None) -> None:
    assert address(peer, "198.51.100.1") == ""


def test_ipv6_has_one_spelling() -> None:
    """A limit by address counts each address once."""
    for spelling in ("2001:db8:0:0:0:0:0:1", "2001:DB8::1", "[2001:db8::1]", "2001:0db8::0001"):
        assert address("10.0.0.1", spelling) == "2001:db8::1"


def test_ipv4_in_ipv6_is_ipv4() -> None:
    """A dual-stack socket returns this form, which must not give a client a second address."""
    assert address("::ffff:203.0.113.7") == "203.0.113.7"
    assert address("::ffff:10.0.0.1", "198.51.100.1") == "198.51.100.1"
    assert address("10.0.0.1", "::ffff:198.51.100.1") == "198.51.100.1"
    assert address("10.0.0.1", "1.1.1.1, ::ffff:10.0.0.2") == "1.1.1.1"


def test_no_other_module_reads_the_address() -> None:
    """Attack row 33 (tests/attacks/README.md): no other module reads the peer's address or a forwarded one."""
    root = Path(idp.__file__).parent
    # As headers and scope keys, and as Litestar's attribute.
    reads = re.compile(
        r"""["'][Xx]-(?:[Ff]orwarded|[Rr]eal)[-\w]*|["']forwarded["']|(?:request|connection)\.client\b"""
    )
    found = {path.relative_to(root).as_posix() for path in root.rglob("*.py") if reads.search(path.read_text())}
    # The certificate of the client comes in such a header too, from trusted proxies only. A doctor sends a forwarded
    # address, and is told how it arrived.
    doctor = {"doctor/probe.py", "doctor/proxy.py"}
    assert found == {"http/client_address.py", "http/client_certificate.py"} | doctor


async def test_a_spoofed_header_is_not_recorded(browser: Browser, alice: User, make_client: MakeClient) -> None:
    """The server of the tests has no proxies: a spoofed header changes nothing that it writes down."""
    client = await make_client()
    spoofed = {"X-Forwarded-For": "198.51.100.1", "Forwarded": "for=198.51.100.1", "X-Real-IP": "198.51.100.1"}
    browser.client.headers.update(spoofed)
    await client.sign_in(browser, alice.email)
    row = await fetchrow("SELECT ip_address FROM session WHERE user_id = $1", alice.id)
    assert row is not None
    assert row["ip_address"] == "127.0.0.1"
    rows = await fetchrow("SELECT array_agg(DISTINCT ip_address) AS a FROM audit_event WHERE user_id = $1", alice.id)
    assert rows is not None
    # Alice was created by this process, which answers no requests.
    assert set(rows["a"]) == {"127.0.0.1", ""}
