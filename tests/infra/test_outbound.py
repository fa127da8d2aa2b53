"""The client for calls to other servers. Attacks on it are in tests/attacks/test_35_ssrf.py."""

import ast
import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from authlib.integrations.httpx_client import AsyncOAuth2Client

from idp.infra import outbound
from idp.infra.name_lookups import Lookups
from idp.settings import SettingsError, load
from tests.support.elsewhere import (
    Authority,
    Handler,
    Serve,
    allow,
    answer,
    drip,
    leads_here,
    redirect,
    resolves_to,
    serving,
)
from tests.test_architecture import modules

HERE = "127.0.0.1/32"


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with serving() as start:
        yield start


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


async def get(url: str, headers: dict[str, str] | None = None, **options: Any) -> bytes:
    return await outbound.get(url, headers or {}, **({"timeout_seconds": 5, "max_bytes": 10_000} | options))


# Requests that are sent again


async def test_a_response_that_is_refused_is_not_asked_for_again(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    """Only a connection that ended without a response is replaced."""
    heads: list[bytes] = []
    compressed = await serve(answer(b"{}", "Content-Encoding: gzip", heads=heads))
    long = await serve(answer(b"x" * 20_000, heads=heads))
    allow(monkeypatch, HERE)
    async with outbound.client(max_bytes=10_000, timeout_seconds=5) as http:
        with pytest.raises(outbound.CompressedError):
            await outbound.ask(http, f"http://127.0.0.1:{compressed}/", {}, b"{}")
        with pytest.raises(outbound.TooLongError):
            await outbound.ask(http, f"http://127.0.0.1:{long}/", {}, b"{}")
    assert len(heads) == 2


async def test_two_attempts_share_the_time_limit(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    """A server that ends the first connection late, and never answers on the second one."""
    begun: list[float] = []

    async def slow(_: bytes, writer: asyncio.StreamWriter) -> None:
        begun.append(asyncio.get_running_loop().time())
        await asyncio.sleep(2.7 if len(begun) == 1 else 30)
        writer.close()

    port = await serve(slow)
    allow(monkeypatch, HERE)
    async with outbound.client(max_bytes=10_000, timeout_seconds=3) as http:
        with pytest.raises(outbound.CallTimedOut):
            await outbound.ask(http, f"http://127.0.0.1:{port}/", {}, b"{}")
    ended = asyncio.get_running_loop().time()
    assert len(begun) == 2
    # A limit for each would give the second one three seconds.
    assert ended - begun[1] < 2.5


# TLS


async def test_a_configured_certificate_authority(
    monkeypatch: pytest.MonkeyPatch, serve: Serve, authority: Authority
) -> None:
    """The connection goes to the checked address; the certificate must be valid for the name."""
    port = await serve(answer(b"hello"), authority.context("sso.internal"))
    allow(monkeypatch, "sso.internal", http=False, outbound_ca_file=authority.file)
    leads_here(monkeypatch, "sso.internal")
    assert await get(f"https://sso.internal:{port}/") == b"hello"


async def test_another_name_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, serve: Serve, authority: Authority
) -> None:
    port = await serve(answer(b"hello"), authority.context("other.internal"))
    allow(monkeypatch, HERE, outbound_ca_file=authority.file)
    leads_here(monkeypatch, "sso.internal")
    for host in ("sso.internal", "127.0.0.1"):
        with pytest.raises(outbound.CallFailed, match="CERTIFICATE_VERIFY_FAILED"):
            await get(f"https://{host}:{port}/")


async def test_unconfigured_certificate_authorities_are_not_trusted(
    monkeypatch: pytest.MonkeyPatch, serve: Serve, authority: Authority
) -> None:
    """Only the setting names any, no variable of the environment."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    outbound._tls.cache_clear()
    port = await serve(answer(b"hello"), authority.context("sso.internal"))
    allow(monkeypatch, HERE)
    leads_here(monkeypatch, "sso.internal")
    with pytest.raises(outbound.CallFailed, match="CERTIFICATE_VERIFY_FAILED"):
        await get(f"https://sso.internal:{port}/")


# Names and addresses


async def test_the_next_address_is_tried(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    """After a first address that does not answer."""
    port = await serve(answer(b"hello"))
    allow(monkeypatch, "127.0.0.0/8", "::1")
    resolves_to(monkeypatch, ["127.0.0.9", "127.0.0.1"])
    assert await get(f"http://example.com:{port}/") == b"hello"


@pytest.mark.parametrize("found", [OSError("none"), UnicodeError("label too long")])
async def test_names_that_lead_nowhere(monkeypatch: pytest.MonkeyPatch, found: Exception) -> None:
    async def getaddrinfo(*_: object, **__: object) -> None:
        raise found

    monkeypatch.setattr(Lookups, "getaddrinfo", getaddrinfo)
    with pytest.raises(outbound.CallFailed, match="cannot be resolved"):
        await get("https://example.com/")


@pytest.mark.parametrize("path", ["", pytest.param("/auth", marks=pytest.mark.fault(29))])
async def test_our_own_issuer_for_the_demo(path: str, monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    """Its exact host and port, and only if the caller allows it."""
    port, other = await serve(answer(b"us")), await serve(answer(b"a neighbour"))
    allow(monkeypatch, http=False, issuer=f"http://127.0.0.1:{port}{path}")
    async with outbound.client(own=(f"http://127.0.0.1:{port}",)) as client:
        assert (await client.get(f"http://127.0.0.1:{port}/")).text == "us"
        for url in (f"http://127.0.0.1:{other}/", f"https://127.0.0.1:{other}/"):
            with pytest.raises(outbound.ForbiddenAddressError):
                await client.get(url)
    with pytest.raises(outbound.ForbiddenAddressError):
        await get(f"http://127.0.0.1:{port}/")


# Redirects


async def test_redirects_are_followed_if_wished(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    allow(monkeypatch, HERE)
    port = await serve(answer(b"there"))
    for hops in (1, 2):
        port = await serve(redirect(f"http://127.0.0.1:{port}/"))
        assert await get(f"http://127.0.0.1:{port}/", redirects=hops) == b"there"
        with pytest.raises(outbound.CallFailed):
            await get(f"http://127.0.0.1:{port}/", redirects=hops - 1)


async def test_redirects_in_a_circle(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    allow(monkeypatch, HERE)
    heads: list[bytes] = []
    port = await serve(redirect("/", heads=heads))
    with pytest.raises(outbound.CallFailed):
        await get(f"http://127.0.0.1:{port}/", redirects=3)
    assert len(heads) == 4


async def test_credentials_stay_with_their_server(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    allow(monkeypatch, HERE)
    heads: list[bytes] = []
    port = await serve(redirect(f"http://127.0.0.1:{await serve(answer(heads=heads))}/", heads=heads))
    await get(f"http://127.0.0.1:{port}/", {"Authorization": "Bearer secret"}, redirects=1)
    assert [b"secret" in head for head in heads] == [True, False]


# Time and size


async def _hang(_: bytes, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


async def _promise(_: bytes, writer: asyncio.StreamWriter) -> None:
    """Never anything but 103 Early Hints."""
    for _nr in range(600):
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


def _by_get(url: str) -> Awaitable[object]:
    return get(url, timeout_seconds=0.4)


async def _by_client(url: str) -> object:
    async with outbound.client(timeout_seconds=0.4) as client:
        return await client.get(url)


async def _by_library(url: str) -> object:
    """One that would wait for ever itself."""
    async with AsyncOAuth2Client(transport=outbound.transport(timeout_seconds=0.4), timeout=None) as client:
        return await client.request("GET", url, withhold_token=True)


@pytest.mark.parametrize("call", [_by_get, _by_client, _by_library])
@pytest.mark.parametrize("handler", [drip, _hang, _promise])
async def test_a_call_ends_in_time(
    monkeypatch: pytest.MonkeyPatch, serve: Serve, handler: Any, call: Callable[[str], Awaitable[object]]
) -> None:
    """However a library waits: each byte may come soon, the last one does not."""
    allow(monkeypatch, HERE)
    port, started = await serve(handler), time.monotonic()
    with pytest.raises(outbound.CallFailed):
        await call(f"http://127.0.0.1:{port}/")
    assert 0.3 < time.monotonic() - started < 20


@pytest.mark.parametrize(
    ("handler", "outcome"),
    [
        (_hang, "timeout"), (answer(), "2xx"), (answer(status="404 Not Found"), "4xx"),
        (lambda _, writer: _closed(writer), "error"),
    ],
)  # fmt: skip
async def test_the_outcome_is_measured(
    monkeypatch: pytest.MonkeyPatch, serve: Serve, handler: Handler, outcome: str
) -> None:
    """By the class of the status; a server that hangs differs from one that ends the connection."""
    measured = _measured(monkeypatch)
    allow(monkeypatch, HERE)
    with suppress(outbound.CallFailed):
        await get(f"http://127.0.0.1:{await serve(handler)}/", timeout_seconds=0.5)
    assert measured == [outcome]


async def test_the_time_limit_of_the_caller_is_measured_as_such(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    measured = _measured(monkeypatch)
    allow(monkeypatch, HERE)
    port = await serve(_hang)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await get(f"http://127.0.0.1:{port}/", timeout_seconds=30)
    assert measured == ["timeout"]


def _measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of the outcomes, as they come."""
    outcomes: list[str] = []
    monkeypatch.setattr(outbound.CALLS, "observe", lambda _seconds, outcome: outcomes.append(outcome))
    return outcomes


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()


# What the operator is told

URL = "https://user:secret@receiver.example/hook?token=secret"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            httpx.HTTPStatusError("for " + URL, request=httpx.Request("GET", URL), response=httpx.Response(404)),
            "The response has status 404.",
        ),
        (TimeoutError(), "There was no response in time."),
        (httpx.ReadTimeout(""), "There was no response in time."),
        (b"\xff", "The response is no text."),
        (httpx.ConnectError("All connection attempts failed"), "All connection attempts failed."),
        (outbound.TooLongError("The response is too long."), "The response is too long."),
        (httpx.RemoteProtocolError(" "), "RemoteProtocolError."),
        (ValueError("one\x1b[31m\ntwo\u202e"), "one[31mtwo."),
        (ValueError("x" * 1000), "x" * outbound.MAX_CAUSE_LENGTH + "."),
    ],
)
def test_the_cause_of_a_failed_call(error: Exception | bytes, text: str) -> None:
    """One printable sentence without the URL."""
    if isinstance(error, bytes):
        with pytest.raises(UnicodeDecodeError) as caught:
            error.decode()
        error = caught.value
    assert outbound.cause(error) == text


async def test_no_cause_quotes_the_url(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    allow(monkeypatch, HERE)
    for handler in (answer(status="500 Broken"), answer(status="302 Found"), answer(b"x" * 20_000), _hang, drip):
        with pytest.raises(outbound.CallFailed) as failed:
            await get(f"http://127.0.0.1:{await serve(handler)}/secret", timeout_seconds=0.5)
        fields = outbound.failure_fields(failed.value)
        assert fields["reason"].endswith(".")
        assert "secret" not in str(fields)


async def test_resolvers_that_do_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*_: object, **__: object) -> None:
        await asyncio.sleep(30)

    monkeypatch.setattr(Lookups, "getaddrinfo", getaddrinfo)
    started = time.monotonic()
    with pytest.raises(outbound.CallFailed):
        await get("https://example.com/", timeout_seconds=0.3)
    assert time.monotonic() - started < 20


async def test_redirects_do_not_restart_the_timeout(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    allow(monkeypatch, HERE)

    async def late(_: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)
        await redirect("/")(_, writer)

    started = time.monotonic()
    with pytest.raises(httpx.TimeoutException):
        await get(f"http://127.0.0.1:{await serve(late)}/", redirects=50, timeout_seconds=0.5)
    assert time.monotonic() - started < 8


async def test_exactly_so_many_bytes(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    """Also for a caller that reads in chunks."""
    allow(monkeypatch, HERE)
    port = await serve(answer(b"x" * 1000))
    async with outbound.client(max_bytes=1000) as client:
        assert len((await client.get(f"http://127.0.0.1:{port}/")).content) == 1000
    async with outbound.client(max_bytes=999) as client, client.stream("GET", f"http://127.0.0.1:{port}/") as response:
        with pytest.raises(outbound.CallFailed):
            [_ async for _ in response.aiter_raw(10)]


# What is not sent along


async def test_no_cookies_are_sent(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    allow(monkeypatch, HERE)
    heads: list[bytes] = []
    port = await serve(answer(b"", "Set-Cookie: crumb=1; Path=/", heads=heads))
    async with outbound.client() as client:
        for _ in range(2):
            await client.get(f"http://127.0.0.1:{port}/")
    assert len(heads) == 2
    assert not any(b"cookie" in head for head in heads)


async def test_netrc_is_ignored(monkeypatch: pytest.MonkeyPatch, serve: Serve, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login alice password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    allow(monkeypatch, HERE)
    heads: list[bytes] = []
    await get(f"http://127.0.0.1:{await serve(answer(heads=heads))}/")
    assert b"authorization" not in heads[0]


# Settings


def test_nothing_is_allowed_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even in development mode."""
    for name in ("IDP_OUTBOUND_ALLOW_HTTP", "IDP_OUTBOUND_ALLOWED_HOSTS"):
        monkeypatch.delenv(name)
    for found in (load(), load(dev=True)):
        assert (found.outbound_allow_http, found.outbound_allowed_hosts, found.outbound_ca_file) == (False, (), None)


def test_hosts_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDP_OUTBOUND_ALLOWED_HOSTS", "sso.internal, Keycloak,10.1.0.0/16, fd00::/8,::1, 3com.internal")
    expected = ("sso.internal", "Keycloak", "10.1.0.0/16", "fd00::/8", "::1", "3com.internal")
    assert load().outbound_allowed_hosts == expected


@pytest.mark.parametrize(
    "text",
    ["10.1.0.5/16", "10.1.0.300", "*.internal", "sso.internal:443", "https://sso.internal", "a b", "bücher", "."],
)
def test_hosts_that_would_never_match(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("IDP_OUTBOUND_ALLOWED_HOSTS", f"sso.internal,{text}")
    with pytest.raises(SettingsError, match="IDP_OUTBOUND_ALLOWED_HOSTS"):
        load()


def test_the_file_of_authorities(monkeypatch: pytest.MonkeyPatch, authority: Authority, tmp_path: Path) -> None:
    """An invalid file is reported at start, not at the first call."""
    (tmp_path / "empty.pem").write_text("no certificate\n")
    for path in (tmp_path / "missing.pem", tmp_path / "empty.pem", tmp_path):
        monkeypatch.setenv("IDP_OUTBOUND_CA_FILE", str(path))
        with pytest.raises(SettingsError, match="IDP_OUTBOUND_CA_FILE"):
            load()
    monkeypatch.setenv("IDP_OUTBOUND_CA_FILE", str(authority.file))
    assert load().outbound_ca_file == authority.file


# Libraries


def test_libraries_call_through_it() -> None:
    """Authlib's clients use our transport, and are clients of the same httpx."""
    assert issubclass(AsyncOAuth2Client, httpx.AsyncClient)
    made = [
        (name, {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords})
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("OAuth2Client")
    ]
    assert made
    for name, given in made:
        assert given.get("transport", "").startswith("outbound.transport("), name
        assert given.get("trust_env") == "False", name
        assert "follow_redirects" not in given, name
