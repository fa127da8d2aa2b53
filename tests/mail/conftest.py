"""Settings for one test, and a real SMTP server on the loopback interface."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from idp.infra.db.engine import fetchrow, transaction
from idp.mail import outbox
from idp.settings import settings
from tests.conftest import MASTER_KEY
from tests.support.isolated import isolated, own_database
from tests.support.postgres import Cluster
from tests.support.server import Server

__all__ = ["own_database"]

USERNAME, PASSWORD = "post@example.com", "p@ss:w/rd"

UseSettings = Callable[..., None]


@pytest.fixture
def use_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[UseSettings]:
    """Gives this process other settings until the test ends."""

    def use(**values: object) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"IDP_{name.upper()}", str(value))
        settings.cache_clear()

    use(
        data_dir=tmp_path / "data",
        database_url="postgresql://unused",
        issuer="https://id.example.com",
        mail_from="Example <no-reply@example.com>",
    )
    yield use
    monkeypatch.undo()
    settings.cache_clear()


@dataclass
class Inbox:
    """The messages that an SMTP server received."""

    port: int = 0
    envelopes: list[Envelope] = field(default_factory=list)
    logins: list[tuple[bytes, bytes]] = field(default_factory=list)
    greetings: list[str] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert server.transport is not None
        self.greetings.append(session.host_name or "")
        self.encrypted.append(server.transport.get_extra_info("ssl_object") is not None)
        self.envelopes.append(envelope)
        return "250 OK"

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login, data.password))
        right = data == LoginPassword(USERNAME.encode(), PASSWORD.encode())
        return AuthResult(success=right, handled=False)


StartSMTP = Callable[..., Awaitable[Inbox]]


@pytest.fixture
async def start_smtp() -> AsyncIterator[StartSMTP]:
    """Starts SMTP servers; ``tls_context`` makes one offer STARTTLS, ``implicit_tls`` speak TLS from the start."""
    servers: list[asyncio.Server] = []

    async def start(*, implicit_tls: ssl.SSLContext | None = None, **options: Any) -> Inbox:
        inbox = Inbox()
        server = await asyncio.get_running_loop().create_server(
            lambda: SMTP(inbox, hostname="mail.test", authenticator=inbox.authenticate, **options),
            "127.0.0.1",
            0,
            ssl=implicit_tls,
        )
        servers.append(server)
        inbox.port = server.sockets[0].getsockname()[1]
        return inbox

    yield start
    for server in servers:
        server.close()


class Certificate(NamedTuple):
    path: Path
    context: ssl.SSLContext


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """An untrusted certificate for localhost, and the TLS context of a server with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("certificate")
    path = folder / "certificate.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path = folder / "key.pem"
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key_path)
    return Certificate(path, context)


# The outbox

KEPT = "250 Kept as 42"


class Moody:
    """An SMTP server with configurable responses.

    Attributes:
        answers: what it says to each message: an SMTP answer, to the recipient when it begins with RCPT; ``drop``; or
            ``hang`` until ``go_on``, and an answer after that.
        goodbye: whether it ever answers to QUIT.
        entered: set once it has got a message.
    """

    def __init__(self) -> None:
        self.answers: list[str] = []
        self.envelopes: list[Envelope] = []
        self.goodbye = True
        self.url = ""
        self.entered = asyncio.Event()
        self.go_on = asyncio.Event()

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.answers and self.answers[0].startswith("RCPT "):
            return self.answers.pop(0).removeprefix("RCPT ")
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        answer = self.answers.pop(0) if self.answers else KEPT
        self.entered.set()
        if answer.startswith("hang"):
            await self.go_on.wait()
            answer = answer.removeprefix("hang").strip() or KEPT
        if answer == "drop":
            assert server.transport is not None
            server.transport.abort()
            return "250 never seen"
        if answer.startswith("2"):
            self.envelopes.append(envelope)
        return answer

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if not self.goodbye:
            await self.go_on.wait()
        return "221 Bye"


@pytest.fixture
async def moody() -> AsyncIterator[Moody]:
    """An SMTP server with its ``url``."""
    moody = Moody()
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(moody, hostname="mail.test"), "127.0.0.1", 0)
    moody.url = f"smtp://localhost:{server.sockets[0].getsockname()[1]}"
    yield moody
    moody.go_on.set()
    server.close()


@pytest.fixture
def smtp(own_database: str, use_settings: UseSettings, moody: Moody) -> Moody:
    """An SMTP server, and a separate database."""
    use_settings(smtp_url=moody.url)
    return moody


@pytest.fixture
async def served(cluster: Cluster, template: str, tmp_path: Path) -> AsyncIterator[Callable[..., Server]]:
    """Start servers on a separate database, which the engine of this process uses too."""
    started: list[Server] = []
    async with isolated(await cluster.create_database(template)) as dsn:

        def start(**settings: str) -> Server:
            server = Server(tmp_path, IDP_DATABASE_URL=dsn, IDP_MASTER_KEY=MASTER_KEY, **settings)
            started.append(server)
            return server

        yield start
        for server in started:
            server.kill()


async def queue(to: str = "alice@example.com", **options: Any) -> None:
    async with transaction():
        await outbox.queue(to, "welcome", name="Alice", **options)


async def newest() -> asyncpg.Record:
    row = await fetchrow("SELECT * FROM mail ORDER BY created_at DESC LIMIT 1")
    assert row is not None
    return row
