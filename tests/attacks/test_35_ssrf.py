"""Row 35: no address from input makes the server call its own network."""

import asyncio
import gzip
import ipaddress
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpcore
import pytest

from idp.infra import outbound
from tests.support.elsewhere import Authority, Serve, allow, answer, drip, leads_here, redirect, resolves_to, serving

PRIVATE = [
    "127.0.0.1", "127.1.2.3", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
    "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fc00::1", "fd12::1", "ff02::1",
    "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
    "2002:a9fe:a9fe::1", "2001:0:7f00:1::", "64:ff9b:1::1",
    "::7f00:1", "::a9fe:a9fe", "::1.1.1.1", "fec0::1", "2001:0:101:101::", "2002:101:101::", "64:ff9b::",
    "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "192.88.99.1", "240.0.0.1", "3fff::1",
    "::ffff:168.63.129.16", "192.0.0.9", "2001:1::1",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
#: Spellings that resolvers accept as addresses.
SPELLINGS = [
    "localhost", "127.1", "0x7f000001", "0x7f.1", "2130706433", "0177.0.0.1", "127.0.0.1.",
    "[::1]", "0", "017700000001", "127.0.1", "[::ffff:7f00:1]", "[0:0:0:0:0:0:0:1]", "LOCALHOST", "localhost.",
    "①②⑦.⓪.⓪.①", "127。0。0。1",
]  # fmt: skip


@pytest.fixture(autouse=True)
def as_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    """No exceptions are configured."""
    allow(monkeypatch)


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with serving() as start:
        yield start


async def _get(url: str, **options: Any) -> bytes:
    return await outbound.get(url, {}, **({"timeout_seconds": 5, "max_bytes": 10_000} | options))


@pytest.mark.parametrize("text", PRIVATE)
def test_35_addresses_that_are_not_public(text: str) -> None:
    assert not outbound.is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_35_addresses_that_are(text: str) -> None:
    assert outbound.is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("host", [*SPELLINGS, "127.0.0.1", "[::ffff:127.0.0.1]", "user:password@127.0.0.1"])
async def test_35_spellings_of_this_machine(serve: Serve, host: str) -> None:
    """However the resolver reads them, no connection is made."""
    called: list[bytes] = []
    port = await serve(answer(heads=called))
    with pytest.raises(outbound.CallFailed):
        await _get(f"http://{host}:{port}/")
    assert called == []


@pytest.mark.parametrize("address", [text for text in PRIVATE if text not in ("255.255.255.255",)])
async def test_35_names_that_lead_inside(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    resolves_to(monkeypatch, [address])
    with pytest.raises(outbound.ForbiddenAddressError):
        await _get("http://innocent.example/")


async def test_35_one_address_of_several_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    resolves_to(monkeypatch, ["93.184.216.34", "127.0.0.1"])
    with pytest.raises(outbound.ForbiddenAddressError):
        await _get("http://innocent.example/")


async def test_35_a_name_that_changes_its_mind(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    """It is looked up once, and the address that was checked is the one that is called."""
    port = await serve(answer(b"inside"))
    allow(monkeypatch, "127.0.0.1/32")
    asked = resolves_to(monkeypatch, ["127.0.0.1"], ["10.0.0.1"])
    assert await _get(f"http://rebinding.example:{port}/") == b"inside"
    assert asked == ["rebinding.example"]


async def test_35_a_name_is_connected_to_as_it_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Public when it is looked up, private a moment later: the connection goes to the public address, or nowhere."""
    called = []

    async def connect_tcp(_: object, host: str, *rest: object) -> httpcore.AsyncNetworkStream:
        called.append(host)
        raise httpcore.ConnectError

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect_tcp)
    resolves_to(monkeypatch, ["93.184.216.34"], ["169.254.169.254"])
    with pytest.raises(outbound.CallFailed):
        await _get("http://rebinding.example/")
    assert called == ["93.184.216.34"]
    with pytest.raises(outbound.ForbiddenAddressError):
        await _get("http://rebinding.example/")
    assert called == ["93.184.216.34"]


async def test_35_every_connection_of_a_client_is_checked(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    port = await serve(answer(b"first"))
    allow(monkeypatch, "127.0.0.1/32")
    resolves_to(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
    async with outbound.client() as client:
        assert (await client.get(f"http://rebinding.example:{port}/")).text == "first"
        with pytest.raises(outbound.ForbiddenAddressError):
            await client.get(f"http://rebinding.example:{port}/")


async def test_35_the_refusal_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not reveal what an internal name resolves to: the message is the same for all."""
    told = set()
    for address in ("10.1.2.3", "fd00::7", "169.254.169.254"):
        resolves_to(monkeypatch, [address])
        with pytest.raises(outbound.ForbiddenAddressError) as refused:
            await _get("http://secret.internal:8080/")
        told.add(str(refused.value))
    assert told == {"The server has no public address."}


@pytest.mark.parametrize(
    "url", ["http://user:password@127.0.0.1", "http://example.com@127.0.0.1", "http://:x@127.0.0.1"]
)
async def test_35_user_names_in_addresses(monkeypatch: pytest.MonkeyPatch, serve: Serve, url: str) -> None:
    """The part before the @ looks like the host to people, and no legitimate URL has it."""
    called: list[bytes] = []
    port = await serve(answer(heads=called))
    allow(monkeypatch, "127.0.0.1/32")
    with pytest.raises(outbound.ForbiddenAddressError):
        await _get(f"{url}:{port}/")
    assert called == []


async def test_35_hosts_that_the_operator_allows(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    """By name or by network, and no other hosts."""
    port = await serve(answer(b"inside"))
    for allowed in ("sso.internal", "SSO.Internal", "127.0.0.0/8", "127.0.0.1"):
        allow(monkeypatch, "other.internal", allowed)
        resolves_to(monkeypatch, ["127.0.0.1"])
        assert await _get(f"http://sso.internal:{port}/") == b"inside"
        if "." in allowed and not allowed[0].isdigit():
            with pytest.raises(outbound.ForbiddenAddressError):
                await _get(f"http://x.sso.internal:{port}/")


async def test_35_only_with_tls(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    port = await serve(answer(b"inside"))
    allow(monkeypatch, "127.0.0.1/32", http=False)
    with pytest.raises(outbound.ForbiddenAddressError):
        await _get(f"http://127.0.0.1:{port}/")
    for url in ("file:///etc/passwd", "ftp://example.com/", "gopher://127.0.0.1/", "//x", "http://", "https://\0/"):
        with pytest.raises(outbound.CallFailed):
            await _get(url)


async def test_35_no_redirect_is_followed(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    called: list[bytes] = []
    inside = await serve(answer(heads=called))
    port = await serve(redirect(f"http://127.0.0.1:{inside}/"))
    allow(monkeypatch, "127.0.0.1/32")
    with pytest.raises(outbound.CallFailed):
        await _get(f"http://127.0.0.1:{port}/")
    assert called == []


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "0x7f000001", "localhost", "[::ffff:127.0.0.1]", "169.254.169.254", "[::1]", "user@start.example"],
)
async def test_35_redirects_to_inside(monkeypatch: pytest.MonkeyPatch, serve: Serve, host: str) -> None:
    """If redirects may be followed, each is checked like the first address."""
    called: list[bytes] = []
    inside = await serve(answer(heads=called))
    port = await serve(redirect(f"http://{host}:{inside}/"))
    allow(monkeypatch, "start.example")
    leads_here(monkeypatch, "start.example")
    with pytest.raises(outbound.ForbiddenAddressError):
        await _get(f"http://start.example:{port}/", redirects=3)
    assert called == []


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/", "http://[/", "http://\\x00/", "//", ""])
async def test_35_redirects_to_anything_else(monkeypatch: pytest.MonkeyPatch, serve: Serve, location: str) -> None:
    allow(monkeypatch, "127.0.0.1/32")
    port = await serve(redirect(location))
    with pytest.raises(outbound.CallFailed):
        await _get(f"http://127.0.0.1:{port}/", redirects=3)


async def test_35_redirects_from_https_to_http(monkeypatch: pytest.MonkeyPatch, serve: Serve, tmp_path: Path) -> None:
    """Not even where http is allowed."""
    authority, called = Authority(tmp_path), list[bytes]()
    inside = await serve(answer(heads=called))
    port = await serve(redirect(f"http://start.example:{inside}/"), authority.context("start.example"))
    allow(monkeypatch, "start.example", outbound_ca_file=authority.file)
    leads_here(monkeypatch, "start.example")
    with pytest.raises(outbound.ForbiddenAddressError):
        await _get(f"https://start.example:{port}/", redirects=3)
    assert called == []


async def test_35_long_answers(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    """With a Content-Length, or without one."""
    allow(monkeypatch, "127.0.0.1/32")

    async def endless(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    for handler in (answer(b"x" * 10_001), endless):
        with pytest.raises(outbound.CallFailed):
            await _get(f"http://127.0.0.1:{await serve(handler)}/")
    assert await _get(f"http://127.0.0.1:{await serve(answer(b'x' * 10_000))}/") == b"x" * 10_000


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "br", "zstd", "identity, gzip"])
async def test_35_packed_answers(monkeypatch: pytest.MonkeyPatch, serve: Serve, encoding: str) -> None:
    """They are not requested, and a decompression bomb is not unpacked."""
    allow(monkeypatch, "127.0.0.1/32")
    heads: list[bytes] = []
    port = await serve(answer(gzip.compress(b"x" * 9000), f"Content-Encoding: {encoding}", heads=heads))
    with pytest.raises(outbound.CallFailed):
        await _get(f"http://127.0.0.1:{port}/")
    assert b"\r\naccept-encoding: identity\r\n" in heads[0]


async def test_35_slow_answers(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    """A drip that never stops ends with the time of the whole call."""
    allow(monkeypatch, "127.0.0.1/32")

    started = time.monotonic()
    with pytest.raises(outbound.CallFailed):
        await _get(f"http://127.0.0.1:{await serve(drip)}/", timeout_seconds=0.5)
    assert time.monotonic() - started < 20


async def test_35_for_libraries_too(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    """Requests that libraries make by our transport are checked too."""
    port = await serve(answer(b"x" * 2000))
    async with outbound.client(max_bytes=1000) as client:
        with pytest.raises(outbound.ForbiddenAddressError):
            await client.get(f"http://127.0.0.1:{port}/")
        allow(monkeypatch, "127.0.0.1/32")
        with pytest.raises(outbound.CallFailed):
            await client.get(f"http://127.0.0.1:{port}/")


async def test_35_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    called: list[bytes] = []
    proxy = await serve(answer(heads=called))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
    allow(monkeypatch, "127.0.0.1/32")
    assert await _get(f"http://127.0.0.1:{await serve(answer(b'straight'))}/") == b"straight"
    assert called == []
