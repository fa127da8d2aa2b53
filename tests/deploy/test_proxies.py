"""The examples of deploy/proxies, each run by its proxy, and visited from outside by TLS."""

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import pytest
from cryptography import x509

from idp.accounts.tables import User
from idp.admin.roles import Role
from idp.doctor.models import Needs
from idp.http.client_certificate import HEADERS
from idp.infra.db.engine import fetch
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.service import set_admin_role
from idp.settings import settings
from tests.conftest import MASTER_KEY, until_known
from tests.support import certificates
from tests.support.authority import Authority
from tests.support.browser import Browser, Cookies
from tests.support.deployed_proxies import ADMIN_ADDRESS, EXAMPLES_RUN, Example, Running, Setup, deployed
from tests.support.examinations import named, run
from tests.support.oauth import REDIRECT_URI, RelyingParty
from tests.support.recording_server import Received, RecordingServer, recording_server
from tests.support.server import Server, free_port
from tests.support.tokens import claims_of

HOSTS = ("localhost", "mtls.localhost", "shared.localhost")
#: What a client sends to be another one.
SPOOFED = {
    "X-Forwarded-For": "203.0.113.7",
    "Forwarded": "for=203.0.113.7",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "a=b",
}
#: Connections of one address that the examples allow.
MAX_CONNECTIONS = 50
#: Seconds in which something must have happened, on a machine with other work.
WITHIN = 30

each = pytest.mark.parametrize("example", EXAMPLES_RUN, ids=lambda example: example.program)


class Visitors(NamedTuple):
    """Makes clients of the proxy, by their address and certificate."""

    authority: Authority
    port: int

    def client(
        self, address: str = ADMIN_ADDRESS, certificate: Path | None = None, **options: Any
    ) -> httpx.AsyncClient:
        context = ssl.create_default_context(cafile=self.authority.path)
        if certificate is not None:
            context.load_cert_chain(certificate)
        transport = httpx.AsyncHTTPTransport(verify=context, local_address=address)
        return httpx.AsyncClient(transport=transport, timeout=WITHIN, **options)

    async def at(self, client: httpx.AsyncClient, host: str, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request to a host that only the proxy knows."""
        headers = {"Host": f"{host}:{self.port}", "Connection": "close"} | options.pop("headers", {})
        request = client.build_request(method, f"https://127.0.0.1:{self.port}{path}", headers=headers, **options)
        request.extensions["sni_hostname"] = host
        return await client.send(request)


@pytest.fixture(scope="module")
def visitors(tmp_path_factory: pytest.TempPathFactory) -> Visitors:
    return Visitors(Authority(tmp_path_factory.mktemp("authority")), free_port())


@contextlib.contextmanager
def before(
    example: Example,
    servers: tuple[int, int],
    visitors: Visitors,
    folder: Path,
    *,
    hosts: tuple[str, str, str] = HOSTS,
    hurry: bool = False,
) -> Iterator[Running]:
    """Run a proxy before two servers, with a certificate for its hosts."""
    if example.path is None:
        pytest.skip(f"{example.program} is not installed")
    pem = visitors.authority.issue(*hosts).read_text()
    key, _, chain = pem.partition("-----BEGIN CERT")
    for name, content in (("combined.pem", pem), ("key.pem", key), ("fullchain.pem", f"-----BEGIN CERT{chain}")):
        (folder / name).write_text(content)
    (folder / "clients-ca.pem").write_bytes(visitors.authority.path.read_bytes())
    # Worker processes of a proxy may have another account.
    folder.chmod(0o755)
    with deployed(example, Setup(servers, hosts, folder, visitors.port, hurry)) as running:
        yield running


# Before servers that record what arrives


@pytest.fixture
async def recorders() -> AsyncIterator[tuple[RecordingServer, RecordingServer]]:
    async with recording_server() as one, recording_server() as two:
        yield one, two


class Front(NamedTuple):
    """A proxy before two servers that record."""

    example: Example
    running: Running
    servers: tuple[RecordingServer, RecordingServer]
    visitors: Visitors

    def arrived(self) -> list[Received]:
        """Return the requests since the last call, and forget them."""
        found = [request for server in self.servers for request in server.received]
        for server in self.servers:
            server.received.clear()
        return found

    async def raw(self, data: bytes, host: str = HOSTS[0]) -> bytes:
        """Send bytes by TLS, and return what comes until the proxy closes the connection."""
        context = ssl.create_default_context(cafile=self.visitors.authority.path)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.running.port, ssl=context, server_hostname=host
        )
        answer = b""
        try:
            writer.write(data)
            async with asyncio.timeout(WITHIN):
                while part := await reader.read(65536):
                    answer += part
        except (ConnectionError, ssl.SSLError):
            """It was refused."""
        finally:
            writer.close()
        return answer


@pytest.fixture
async def front(
    example: Example, recorders: tuple[RecordingServer, RecordingServer], visitors: Visitors, tmp_path: Path
) -> AsyncIterator[Front]:
    ports = (recorders[0].port, recorders[1].port)
    with before(example, ports, visitors, tmp_path) as running:
        yield Front(example, running, recorders, visitors)


@pytest.fixture
async def hurried(
    example: Example, recorders: tuple[RecordingServer, RecordingServer], visitors: Visitors, tmp_path: Path
) -> AsyncIterator[Front]:
    """With a short time-out for heads of requests."""
    ports = (recorders[0].port, recorders[1].port)
    with before(example, ports, visitors, tmp_path, hurry=True) as running:
        yield Front(example, running, recorders, visitors)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@each
async def test_what_arrives(front: Front) -> None:
    url = f"https://localhost:{front.visitors.port}"
    name = HEADERS[front.example.form].decode()
    certificate = {name: "spoofed", "x-ssl-client-verify": "SUCCESS" if name == "x-ssl-client-cert" else "NONE"}
    async with front.visitors.client() as client:
        answer = await client.get(f"{url}/login/a%20b?next=%2Fx%3D", headers=SPOOFED | certificate)
        assert answer.status_code == 200
        (request,) = front.arrived()
        assert request.target == "/login/a%20b?next=%2Fx%3D"
        assert request.all("x-forwarded-for") == [ADMIN_ADDRESS]
        assert [name for name in ("forwarded", "traceparent", "tracestate") if request.all(name)] == []
        assert {value for name in certificate for value in request.all(name)} <= {"", "NONE"}

        for path, size, statuses in (
            ("/token", 65_536, (200,)),
            ("/token", 70_000, front.example.too_large),
            ("/scim/v2/Bulk", 1_000_000, (200,)),
            ("/admin/x", 70_000, (200,)),
        ):
            answer = await client.post(f"{url}{path}", content=b"x" * size)
            assert answer.status_code in statuses, (path, size)
            assert [len(request.body) for request in front.arrived()] == ([size] if statuses == (200,) else [])

    # Only one address may see /admin, which idp finds by each of these paths.
    for address, status in ((ADMIN_ADDRESS, 200), ("127.0.0.6", 403)):
        async with front.visitors.client(address) as client:
            for path in ("/admin", "/admin/users", "//admin", "/%61dmin/users"):
                answer = await client.get(f"{url}{path}")
                assert (address, path, answer.status_code) == (address, path, status)
    assert len(front.arrived()) == 4

    async with front.visitors.client() as client:
        answer = await client.get(
            f"http://127.0.0.1:{front.running.plain}/authorize?x=1", headers={"Host": "localhost"}
        )
        assert answer.status_code in (301, 308)
        assert re.fullmatch(r"https://localhost(:[0-9]+)?/authorize\?x=1", answer.headers["location"])
        # Other hosts lead nowhere, and the shared one only below its path.
        for host, path, count in (
            ("shared.localhost", "/token", 0),
            ("shared.localhost", "/authority", 0),
            ("shared.localhost", "/auth/token", 1),
            ("shared.localhost", "/auth", 1),
            ("shared.localhost", "/.well-known/openid-configuration", 0),
            ("shared.localhost", "/.well-known/openid-configuration/auth", 1),
            ("other.localhost", "/token", 0),
        ):
            with contextlib.suppress(httpx.TransportError):
                await front.visitors.at(client, host, "GET", path)
            assert (path, len(front.arrived())) == (path, count)

    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", front.running.port, ssl=old, server_hostname="localhost")


INNER = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEAD = b"POST /token HTTP/1.1\r\nHost: localhost\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(INNER)
#: The last chunk, and what a server that reads the length takes for a body too.
CHUNK, OVER = b"0\r\n\r\n", b"Content-Length: %d\r\n" % (5 + len(INNER))
SMUGGLED = {
    "two lengths": HEAD + b"Content-Length: 0\r\n" + LENGTH + b"\r\n" + INNER,
    "length and chunks": HEAD + OVER + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNK + INNER,
    "unknown coding": HEAD + LENGTH + b"Transfer-Encoding: xchunked\r\n\r\n" + INNER,
    "space before the colon": HEAD + b"Transfer-Encoding : chunked\r\n" + OVER + b"\r\n" + CHUNK + INNER,
    "sign of a length": HEAD + b"Content-Length: +%d\r\n\r\n" % len(INNER) + INNER,
    "folded header": HEAD + b"Transfer-Encoding:\r\n chunked\r\n" + OVER + b"\r\n" + CHUNK + INNER,
}


@each
async def test_requests_that_would_be_read_differently(front: Front) -> None:
    """The server reads the same requests as the proxy: what one takes for a body is no request to the other."""
    for name, data in SMUGGLED.items():
        last = b"GET /last HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        answer = await front.raw(data + last)
        arrived = front.arrived()
        # What the proxy itself reads as a request, it answers itself.
        assert len(arrived) <= answer.count(b"HTTP/1.1 "), name
        for request in arrived:
            framing = request.all("content-length") + request.all("transfer-encoding")
            assert len(framing) <= 1, (name, request)


@each
async def test_a_slow_head(hurried: Front) -> None:
    await hurried.raw(b"GET / HTTP/1.1\r\nHost: localh")
    assert hurried.arrived() == []


@pytest.mark.parametrize(
    "example", [one for one in EXAMPLES_RUN if one.limits_connections], ids=lambda example: example.program
)
async def test_many_connections_of_an_address(front: Front) -> None:
    url = f"https://localhost:{front.visitors.port}/jwks"
    context = ssl.create_default_context(cafile=front.visitors.authority.path)
    opened: list[asyncio.StreamWriter] = []

    async def served(address: str) -> bool:
        async with front.visitors.client(address) as client:
            try:
                return (await client.get(url)).status_code == 200
            except httpx.TransportError:
                return False

    try:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            for _ in range(MAX_CONNECTIONS):
                _, writer = await asyncio.open_connection(
                    "127.0.0.1", front.running.port, ssl=context, server_hostname="localhost",
                    local_addr=("127.0.0.7", 0),
                )  # fmt: skip
                opened.append(writer)
                writer.write(HEAD + b"Content-Length: 9\r\n\r\nhalf")
                await writer.drain()
        async with asyncio.timeout(WITHIN):
            while await served("127.0.0.7"):
                await asyncio.sleep(0.05)
        assert await served("127.0.0.8")
    finally:
        for writer in opened:
            writer.transport.abort()
    async with asyncio.timeout(WITHIN):
        while not await served("127.0.0.7"):
            await asyncio.sleep(0.05)


@each
async def test_failing_servers(front: Front) -> None:
    one, two = front.servers
    url = f"https://localhost:{front.visitors.port}"
    async with front.visitors.client() as client:
        # A request that a server has received is not repeated, unless its method is safe.
        one.cuts = two.cuts = True
        answer = await client.post(f"{url}/token", data={"grant_type": "refresh_token"})
        assert answer.status_code >= 500
        assert len(front.arrived()) == 1
        one.cuts = two.cuts = False
        async with asyncio.timeout(WITHIN):
            while (await client.get(f"{url}/jwks")).status_code != 200:
                await asyncio.sleep(0.05)
        if not front.example.reads_readiness:
            return
        # A server that is not ready gets no more requests, until it is ready again.
        one.ready = False
        await _until(front, client, lambda: not one.received and bool(two.received))
        one.ready = True
        await _until(front, client, lambda: bool(one.received))
        # If none is ready, they serve what they can.
        one.ready = two.ready = False
        probes = one.probes, two.probes
        async with asyncio.timeout(WITHIN):
            while min(one.probes - probes[0], two.probes - probes[1]) < 3:
                await asyncio.sleep(0.05)
        for _ in range(5):
            assert (await client.get(f"{url}/jwks")).status_code == 200


async def _until(front: Front, client: httpx.AsyncClient, condition: Callable[[], bool]) -> None:
    """Send ten requests at a time until a condition holds for what arrived of them."""
    async with asyncio.timeout(WITHIN):
        while True:
            front.arrived()
            for _ in range(10):
                assert (await client.get(f"https://localhost:{front.visitors.port}/jwks")).status_code == 200
            if condition():
                return
            await asyncio.sleep(0.1)


# Before two servers of idp


class Replicas:
    """Two servers of one issuer."""

    def __init__(self, db: str, folder: Path, port: int) -> None:
        self._ports, self._folder = (free_port(), free_port()), folder
        self._always = {
            "IDP_ISSUER": f"https://localhost:{port}",
            "IDP_MTLS_URL": f"https://{HOSTS[1]}:{port}",
            "IDP_DATABASE_URL": db,
            "IDP_MASTER_KEY": MASTER_KEY,
            "IDP_TRUSTED_PROXIES": "127.0.0.1",
            "IDP_ADDRESS_LIMITS": "false",
        }
        self._used: dict[str, str] = {}
        self.servers: list[Server] = []

    def use(self, example: Example) -> tuple[int, int]:
        """Run both with the settings for a proxy. Returns their ports."""
        wanted = {
            "IDP_CLIENT_CERTIFICATE_HEADER": example.form,
            "IDP_CLIENT_CERTIFICATES_VERIFIED": str(example.verified).lower(),
        }
        if self._used != wanted or any(server.process.poll() is not None for server in self.servers):
            self.stop()
            self._used = wanted
            self.servers = [
                Server(self._folder, port=port, wait=False, **self._always, **wanted) for port in self._ports
            ]
            for server in self.servers:
                server.wait_until_ready()
        return self._ports

    def stop(self) -> None:
        for server in self.servers:
            server.kill()


@pytest.fixture(scope="module")
def replicas(db: str, visitors: Visitors, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    replicas = Replicas(db, tmp_path_factory.mktemp("replicas"), visitors.port)
    yield replicas
    replicas.stop()


@pytest.fixture(scope="module")
def below(db: str, visitors: Visitors, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose issuer has a path."""
    server = Server(
        tmp_path_factory.mktemp("below"),
        IDP_ISSUER=f"https://localhost:{visitors.port}/auth",
        IDP_DATABASE_URL=db,
        IDP_MASTER_KEY=MASTER_KEY,
        IDP_TRUSTED_PROXIES="127.0.0.1",
        IDP_ADDRESS_LIMITS="false",
    )
    yield server
    server.stop()


@pytest.fixture
def configure(visitors: Visitors, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Give this process settings of the servers."""

    def use(issuer: str, **more: str) -> None:
        for name, value in {
            "IDP_ISSUER": issuer,
            "IDP_OUTBOUND_CA_FILE": str(visitors.authority.path),
            "IDP_OUTBOUND_ALLOWED_HOSTS": "",
            "IDP_OUTBOUND_ALLOW_HTTP": "false",
            **more,
        }.items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()

    yield use
    monkeypatch.undo()
    settings.cache_clear()


async def examine() -> None:
    """`idp doctor` finds nothing wrong from outside."""
    for name in ("tls", "issuer", "proxy", "cookies"):
        assert (name, named(await run(name, provides=Needs.SETTINGS))) == (name, set())


async def sign_in(
    client: httpx.AsyncClient, issuer: str, user: User, servers: list[Server]
) -> tuple[RelyingParty, dict[str, Any]]:
    """Sign in with a new client that all servers know, and redeem the code. Returns the client and its tokens."""
    registered, secret = await register_client(
        client_name="Shop",
        redirect_uris=[REDIRECT_URI],
        grant_types=["authorization_code", "refresh_token"],
        scope="openid profile email offline_access",
        skip_consent=True,
    )
    party = RelyingParty(issuer, client, registered.client_id, secret, scope=registered.scope)
    for server in servers:
        await until_known(replace(party, issuer=f"{server.url}{urlsplit(issuer).path}"))
    browser = Browser(issuer, client, {})
    client.auth = cookies = Cookies()
    browser.cookies = cookies.values
    code = await party.sign_in(browser, user.email)
    client.auth = None
    answer = await party.redeem(code)
    assert answer.status_code == 200, answer.text
    tokens: dict[str, Any] = answer.json()
    return party, tokens


async def addresses(user: User) -> set[str]:
    """Return the addresses in the audit trail of a user. The test itself has created the user, without an address."""
    found = await fetch("SELECT DISTINCT ip_address FROM audit_event WHERE user_id = $1", user.id)
    return {row["ip_address"] for row in found}


@each
async def test_idp_behind_the_proxy(
    example: Example,
    replicas: Replicas,
    visitors: Visitors,
    alice: User,
    configure: Callable[..., None],
    tmp_path: Path,
) -> None:
    issuer = f"https://localhost:{visitors.port}"
    if example.path is None:
        pytest.skip(f"{example.program} is not installed")
    form, verified = example.form, str(example.verified).lower()
    configure(issuer, IDP_CLIENT_CERTIFICATE_HEADER=form, IDP_CLIENT_CERTIFICATES_VERIFIED=verified)
    with before(example, replicas.use(example), visitors, tmp_path):
        await examine()
        async with visitors.client("127.0.0.9", headers=SPOOFED) as client:
            document = (await client.get(f"{issuer}/.well-known/openid-configuration")).json()
            assert document["issuer"] == issuer
            assert document["mtls_endpoint_aliases"]["token_endpoint"] == f"https://{HOSTS[1]}:{visitors.port}/token"
            page = await client.get(f"{issuer}/login")
            assert page.headers.get_list("strict-transport-security") == ["max-age=63072000; includeSubDomains"]
            party, tokens = await sign_in(client, issuer, alice, replicas.servers)
            assert await addresses(alice) == {"", "127.0.0.9"}

            await _certificates(example, visitors, issuer, tmp_path)

            # One of the servers is killed: every following request is answered by the other.
            await asyncio.to_thread(replicas.servers[1].kill)
            for _ in range(10):
                assert (await client.get(f"{issuer}/.well-known/jwks.json")).status_code == 200
                answer = await party.refresh(tokens["refresh_token"])
                assert answer.status_code == 200, answer.text
                tokens = answer.json()


async def _certificates(example: Example, visitors: Visitors, issuer: str, folder: Path) -> None:
    """A client authenticates by its certificate, and its tokens need that one."""
    certificate, other = (
        authority.issue("client.example") for authority in (visitors.authority, Authority(folder, "Another authority"))
    )
    host, resource = HOSTS[1], f"{issuer}/admin/api"
    header = HEADERS[example.form].decode()
    registered, _ = await register_client(
        client_name="Bank",
        grant_types=["client_credentials"],
        scope="admin:clients:read",
        token_endpoint_auth_method="tls_client_auth",
        tls_client_auth_san_dns="client.example",
        tls_client_certificate_bound_access_tokens=True,
    )
    await set_admin_role(registered.client_id, Role.OWNER)
    form = {"client_id": registered.client_id, "grant_type": "client_credentials", "resource": resource}

    async def token(client: httpx.AsyncClient, host: str = host, **headers: str) -> httpx.Response:
        return await visitors.at(client, host, "POST", "/token", data=form, headers=headers)

    async with visitors.client(certificate=certificate) as client, visitors.client() as without:
        async with asyncio.timeout(WITHIN):
            while (answer := await token(client)).status_code == 401:
                await asyncio.sleep(0.02)
        assert answer.status_code == 200, answer.text
        issued = answer.json()["access_token"]
        assert list(claims_of(issued)["cnf"]) == ["x5t#S256"]
        bearer = {"Authorization": f"Bearer {issued}"}
        path = "/admin/api/v1/clients"
        async with asyncio.timeout(WITHIN):
            while (await visitors.at(client, host, "GET", path, headers=bearer)).status_code != 200:
                await asyncio.sleep(0.02)
        assert (await visitors.at(without, host, "GET", path, headers=bearer)).status_code == 401
        # Nobody becomes this client by a header, on either host.
        spoofed = {header: _spoofed(example.form, certificate), "X-SSL-Client-Verify": "SUCCESS"}
        for at in HOSTS[:2]:
            refused = await token(without, at, **spoofed)
            assert refused.status_code == 401, refused.text
            assert (await visitors.at(without, at, "GET", path, headers=bearer | spoofed)).status_code == 401
    async with visitors.client(certificate=other) as client:
        # A proxy that verifies ends the handshake.
        with contextlib.suppress(httpx.TransportError, ssl.SSLError):
            assert (await token(client)).status_code != 200


def _spoofed(form: str, certificate: Path) -> str:
    """Return the header that a proxy would send."""
    return certificates.HEADERS[form][1](x509.load_pem_x509_certificate(certificate.read_bytes()))


@each
async def test_an_issuer_with_a_path(
    example: Example, below: Server, visitors: Visitors, alice: User, configure: Callable[..., None], tmp_path: Path
) -> None:  # fmt: skip
    issuer = f"https://localhost:{visitors.port}/auth"
    configure(issuer)
    hosts = ("own.localhost", "mtls.localhost", "localhost")
    with before(example, (below.port, below.port), visitors, tmp_path, hosts=hosts):
        await examine()
        async with visitors.client("127.0.0.9", headers=SPOOFED) as client:
            for kind in ("oauth-authorization-server", "openid-configuration"):
                answer = await client.get(f"https://localhost:{visitors.port}/.well-known/{kind}/auth")
                assert answer.json()["issuer"] == issuer
            await sign_in(client, issuer, alice, [below])
            assert (await client.get(f"https://localhost:{visitors.port}/token")).status_code == 404
            assert await addresses(alice) == {"", "127.0.0.9"}
