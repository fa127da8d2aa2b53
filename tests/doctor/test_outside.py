"""The issuer from outside in: a reverse proxy with TLS that breaks one thing after the other, each found and named."""

import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from idp.doctor import seals
from idp.doctor.models import Finding, Level, Needs
from idp.doctor.probe_models import PATH, TOKEN
from idp.settings import settings
from tests.conftest import MASTER_KEY
from tests.support import reverse_proxy as proxies
from tests.support.authority import Authority
from tests.support.examinations import named, one, run
from tests.support.isolated import UseMasterKey
from tests.support.reverse_proxy import CLIENT, ReverseProxy, forwarded, reverse_proxy, without
from tests.support.server import Server, free_port

CHECKS = ("tls", "issuer", "proxy", "cookies")
Configure = Callable[..., None]


class Site(NamedTuple):
    """A server and the port of the proxy before it."""

    server: Server
    port: int

    @property
    def issuer(self) -> str:
        return self.server.issuer


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def _start(db: str, folder: Path, path: str = "") -> Site:
    port = free_port()
    server = Server(
        folder,
        IDP_ISSUER=f"https://localhost:{port}{path}",
        IDP_DATABASE_URL=db,
        IDP_MASTER_KEY=MASTER_KEY,
        IDP_TRUSTED_PROXIES="127.0.0.1",
        IDP_CLIENT_CERTIFICATE_HEADER="nginx",
    )
    return Site(server, port)


@pytest.fixture(scope="module")
def site(db: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = _start(db, tmp_path_factory.mktemp("site"))
    yield site
    site.server.stop()


@pytest.fixture(scope="module")
def below(db: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server whose issuer has a path."""
    site = _start(db, tmp_path_factory.mktemp("below"), "/auth")
    yield site
    site.server.stop()


@pytest.fixture
def configure(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[Configure]:
    """Give the doctor the settings of a server. Nothing private may be called but the issuer."""

    def use(site: Site, **more: str) -> None:
        given = {
            "IDP_ISSUER": site.issuer,
            "IDP_OUTBOUND_CA_FILE": str(authority.path),
            "IDP_OUTBOUND_ALLOWED_HOSTS": "",
            "IDP_OUTBOUND_ALLOW_HTTP": "false",
        }
        for name, value in (given | more).items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()

    yield use
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
async def proxy(site: Site, authority: Authority, configure: Configure) -> AsyncIterator[ReverseProxy]:
    configure(site)
    async with reverse_proxy(site.port, authority.context()) as proxy:
        proxy.port = site.server.port
        yield proxy


async def outside(name: str, **options: object) -> list[Finding]:
    return await run(name, provides=Needs.SETTINGS, **options)


@pytest.mark.usefixtures("proxy")
async def test_a_sound_proxy_has_no_finding() -> None:
    for name in CHECKS:
        findings = await outside(name)
        assert named(findings) == set(), name
        assert [finding.level for finding in findings] == [Level.OK], name
    assert CLIENT in str(await outside("proxy"))


async def test_no_proxy(server: Server, configure: Configure) -> None:
    """Development, on loopback: nothing is between, and plain HTTP is fine."""
    configure(Site(server, server.port))
    for name in CHECKS:
        assert named(await outside(name)) == set(), name
    assert "There is no proxy between." in str(await outside("proxy"))


# TLS


@pytest.mark.parametrize(
    ("host", "days", "name", "level", "mend"),
    [
        ("localhost", -1, "tls_expired", Level.ERROR, "Renew it"),
        ("localhost", 500, "tls_not_yet_valid", Level.ERROR, "clocks"),
        ("other.example", 90, "tls_wrong_host", Level.ERROR, "subject alternative names"),
        ("localhost", 10, "tls_expires", Level.WARNING, "Renew it"),
        ("localhost", 3, "tls_expires", Level.ERROR, "Renew it"),
    ],
)
async def test_certificates(
    site: Site, authority: Authority, configure: Configure, host: str, days: int, name: str, level: Level, mend: str
) -> None:
    configure(site)
    async with reverse_proxy(site.port, authority.context(host, days=days)) as proxy:
        proxy.port = site.server.port
        findings = await outside("tls")
        assert named(findings) == {(name, level)}
        assert mend in one(findings, name).mend


async def test_a_certificate_of_an_unknown_authority(site: Site, configure: Configure, tmp_path: Path) -> None:
    configure(site)
    async with reverse_proxy(site.port, Authority(tmp_path, "Another authority").context()):
        findings = await outside("tls")
        assert named(findings) == {("tls_untrusted", Level.ERROR)}
        assert "whole chain" in one(findings, "tls_untrusted").mend


async def test_no_tls_at_all(site: Site, configure: Configure) -> None:
    configure(site)
    async with reverse_proxy(site.port) as proxy:
        proxy.plain = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
        assert named(await outside("tls")) == {("tls_failed", Level.ERROR)}


async def test_nothing_listens(site: Site, configure: Configure) -> None:
    configure(site)
    for name in ("tls", "issuer"):
        assert named(await outside(name)) == {("server_unreachable", Level.ERROR)}, name
    for name in ("proxy", "cookies"):
        assert await outside(name) == []


# What clients get


async def test_an_issuer_of_another_server(site: Site, below: Site, proxy: ReverseProxy) -> None:
    proxy.port, proxy.path = below.server.port, lambda path: f"/auth{path}"
    findings = await outside("issuer")
    assert named(findings) == {("issuer_of_another_server", Level.ERROR)}
    assert below.issuer in one(findings, "issuer_of_another_server").text


async def test_a_redirect(proxy: ReverseProxy) -> None:
    proxy.plain = b"HTTP/1.1 301 Moved\r\nLocation: https://www.example.com/\r\nContent-Length: 0\r\n\r\n"
    findings = await outside("issuer")
    assert named(findings) == {("issuer_redirects", Level.ERROR)}
    assert "https://www.example.com/" in one(findings, "issuer_redirects").text


async def test_a_page_of_the_proxy(proxy: ReverseProxy) -> None:
    proxy.plain = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\nbusy"
    assert named(await outside("issuer")) == {("discovery_missing", Level.ERROR)}
    assert named(await outside("proxy")) == {("proxy_fails", Level.ERROR)}
    assert await outside("cookies") == []


async def test_headers_that_are_removed(proxy: ReverseProxy) -> None:
    proxy.response = without("strict-transport-security", "x-content-type-options", "access-control-allow-origin")
    findings = await outside("issuer")
    assert named(findings) == {
        ("hsts_missing", Level.WARNING),
        ("security_headers_changed", Level.WARNING),
        ("cors_changed", Level.ERROR),
    }
    assert "x-content-type-options" in one(findings, "security_headers_changed").text


async def test_cors_headers_twice(proxy: ReverseProxy) -> None:
    proxy.response = lambda head: [*head, ("access-control-allow-origin", "*")]
    assert named(await outside("issuer")) == {("cors_changed", Level.ERROR)}


async def test_bodies_that_are_changed(proxy: ReverseProxy) -> None:
    proxy.body = proxies.rewritten(r'"keys":\[', '"keys": [')
    findings = await outside("issuer")
    assert named(findings) == {("document_changed", Level.ERROR)}
    assert "jwks.json" in one(findings, "document_changed").text


async def test_another_cache_control_and_an_old_copy(proxy: ReverseProxy) -> None:
    proxy.response = lambda head: [
        *without("cache-control")(head), ("cache-control", "public, max-age=86400"), ("age", "4000"),
    ]  # fmt: skip
    assert named(await outside("issuer")) == {
        ("cache_control_changed", Level.WARNING),
        ("document_stale", Level.NOTE),
    }


async def test_compression_that_nobody_asked_for(proxy: ReverseProxy) -> None:
    proxy.body, proxy.response = proxies.gzipped, proxies.compressed
    assert named(await outside("issuer")) == {("compressed_unasked", Level.WARNING)}


@pytest.mark.usefixtures("proxy")
async def test_pages_without_tls() -> None:
    port = free_port()
    async with reverse_proxy(port) as plain:
        plain.plain = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        assert named(await outside("issuer", http_port=port)) == {("http_not_redirected", Level.ERROR)}
        plain.plain = b"HTTP/1.1 301 Moved\r\nLocation: https://localhost/\r\nContent-Length: 0\r\n\r\n"
        assert named(await outside("issuer", http_port=port)) == set()


# What the server gets


async def test_a_proxy_that_is_not_named(db: str, tmp_path: Path, authority: Authority, configure: Configure) -> None:
    site = _start(db, tmp_path)
    site.server.stop()
    site = Site(Server(tmp_path, IDP_ISSUER=site.issuer, IDP_DATABASE_URL=db, IDP_MASTER_KEY=MASTER_KEY), site.port)
    configure(site)
    try:
        async with reverse_proxy(site.port, authority.context()) as proxy:
            proxy.port = site.server.port
            findings = await outside("proxy")
            assert named(findings) == {("proxy_not_trusted", Level.ERROR)}
            assert "Add 127.0.0.1 to IDP_TRUSTED_PROXIES" in one(findings, "proxy_not_trusted").mend
    finally:
        site.server.stop()


async def test_an_address_that_clients_choose(proxy: ReverseProxy) -> None:
    proxy.request = without("x-ssl-client-cert")
    findings = await outside("proxy")
    assert named(findings) == {("forwarded_for_spoofable", Level.ERROR)}
    assert "proxy_add_x_forwarded_for" in one(findings, "forwarded_for_spoofable").mend


async def test_no_address(proxy: ReverseProxy) -> None:
    proxy.request = without("x-forwarded-for", "x-ssl-client-cert")
    assert named(await outside("proxy")) == {("forwarded_for_missing", Level.ERROR)}


async def test_a_doctor_in_the_network_of_the_proxies(proxy: ReverseProxy) -> None:
    proxy.request = lambda head: [
        (name, value.replace(CLIENT, "127.0.0.1")) for name, value in forwarded(head)
    ]  # fmt: skip
    assert named(await outside("proxy")) == {("doctor_is_trusted", Level.NOTE)}


async def test_a_certificate_header_that_clients_set(proxy: ReverseProxy) -> None:
    proxy.request = lambda head: [*head, ("x-forwarded-for", CLIENT)]
    findings = await outside("proxy")
    assert named(findings) == {("certificate_header_spoofable", Level.ERROR)}
    assert "set or remove this header" in one(findings, "certificate_header_spoofable").mend


async def test_headers_of_requests_that_are_changed(proxy: ReverseProxy) -> None:
    proxy.request = lambda head: [*without("authorization", "host")(forwarded(head)), ("host", "backend")]
    assert named(await outside("proxy")) == {("authorization_header_lost", Level.ERROR), ("host_changed", Level.NOTE)}


async def test_sizes_that_do_not_arrive(proxy: ReverseProxy) -> None:
    proxy.max_head, proxy.max_body, proxy.max_response = 4096, 8192, 4096
    findings = await outside("proxy")
    assert named(findings) == {
        ("request_headers_limited", Level.WARNING),
        ("url_limited", Level.WARNING),
        ("response_headers_limited", Level.WARNING),
        ("body_limited", Level.WARNING),
    }
    assert "proxy_buffer_size" in one(findings, "response_headers_limited").mend


async def test_private_answers_from_a_cache(proxy: ReverseProxy) -> None:
    proxy.cache = True
    assert ("private_answers_cached", Level.ERROR) in named(await outside("proxy"))


async def test_a_server_with_another_master_key(proxy: ReverseProxy, use_master_key: UseMasterKey) -> None:
    use_master_key(b"x" * 32)
    findings = await outside("proxy")
    assert named(findings) == {("server_not_ours", Level.ERROR)}
    assert "master key of that server" in one(findings, "server_not_ours").mend


# The path of the issuer


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda path: path.replace("/auth", "", 1), "path_stripped"),
        (lambda path: f"/auth{path}", "path_added"),
    ],
)
async def test_paths(below: Site, authority: Authority, configure: Configure, change: object, name: str) -> None:
    configure(below)
    async with reverse_proxy(below.port, authority.context()) as proxy:
        proxy.port, proxy.path = below.server.port, change  # type: ignore[assignment]
        findings = await outside("proxy")
        assert named(findings) == {(name, Level.ERROR)}
        assert "path unchanged" in one(findings, name).mend


async def test_a_well_known_path_that_is_not_forwarded(below: Site, authority: Authority, configure: Configure) -> None:
    configure(below)
    async with reverse_proxy(below.port, authority.context()) as proxy:
        proxy.port = below.server.port
        for name in CHECKS:
            assert named(await outside(name)) == set(), name
        proxy.path = lambda path: path if path.startswith("/auth/") else "/nowhere"
        assert named(await outside("issuer")) == {("well_known_not_forwarded", Level.WARNING)}


# Cookies


@pytest.mark.parametrize(
    ("pattern", "replacement", "attribute"),
    [("; Secure", "", "secure"), ("Path=/", "Path=/auth", "path"), ("; Secure", "; Secure; Domain=a.test", "domain")],
)
async def test_cookies_that_are_changed(proxy: ReverseProxy, pattern: str, replacement: str, attribute: str) -> None:
    proxy.response = lambda head: [
        (name, re.sub(pattern, replacement, value) if name == "set-cookie" else value) for name, value in head
    ]
    findings = await outside("cookies")
    assert named(findings) == {("cookies_changed", Level.ERROR)}
    assert attribute in one(findings, "cookies_changed").text


async def test_cookies_that_get_lost(proxy: ReverseProxy) -> None:
    proxy.response = without("set-cookie")
    proxy.request = lambda head: without("cookie")(forwarded(head))
    assert named(await outside("cookies")) == {
        ("cookies_lost", Level.ERROR),
        ("cookies_not_returned", Level.ERROR),
    }


# The probe


async def test_the_probe_is_an_unknown_path_without_a_token(server: Server, http: httpx.AsyncClient) -> None:
    def normal(response: httpx.Response) -> tuple[int, str, list[str]]:
        return response.status_code, response.text.replace(PATH, "/x"), sorted(response.headers)

    unknown = normal(await http.get(f"{server.issuer}/no/such-path"))
    for token in ("", "guessed", seals.make("n" * 32)[:-1] + "g", f"0{seals.make('n' * 32)[1:]}"):
        for method in ("GET", "POST"):
            found = await http.request(method, f"{server.issuer}{PATH}", headers={TOKEN: token})
            assert normal(found)[::2] == unknown[::2]
            assert found.status_code == 404


def test_tokens_expire_and_belong_to_the_master_key(
    move_clock: Callable[[float], None], use_master_key: UseMasterKey
) -> None:
    token = seals.make("n" * 32)
    assert seals.read(token) == "n" * 32
    move_clock(seals.LIFETIME + 1)
    assert seals.read(token) is None
    move_clock(0)
    use_master_key(b"x" * 32)
    assert seals.read(token) is None
