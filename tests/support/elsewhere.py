"""Servers on loopback with raw responses, optionally with TLS; and control of name resolution."""

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from idp.infra import outbound
from idp.infra.name_lookups import Lookups
from idp.settings import settings

#: Reads the head of a request, and writes the response.
Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
#: Starts a server. Returns its port.
Serve = Callable[..., Awaitable[int]]


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[Serve]:
    async with contextlib.AsyncExitStack() as stack:

        async def start(handler: Handler, tls: ssl.SSLContext | None = None) -> int:
            async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                    await handler(await reader.readuntil(b"\r\n\r\n"), writer)
                writer.close()

            server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
            await stack.enter_async_context(server)
            return server.sockets[0].getsockname()[1]

        yield start


def answer(body: bytes = b"", *headers: str, status: str = "200 OK", heads: list[bytes] | None = None) -> Handler:
    """Return a handler with the same response for everyone. It appends the heads of the requests to the list."""

    async def handle(head: bytes, writer: asyncio.StreamWriter) -> None:
        if heads is not None:
            heads.append(head.lower())
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
        writer.write("\r\n".join(lines).encode() + body)
        with contextlib.suppress(ConnectionError):
            await writer.drain()

    return handle


def redirect(location: str, *, heads: list[bytes] | None = None) -> Handler:
    return answer(b"", f"Location: {location}", status="302 Found", heads=heads)


async def drip(_: bytes, writer: asyncio.StreamWriter) -> None:
    """Send a byte now and then, for half a minute."""
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    for _nr in range(600):
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


def allow(monkeypatch: pytest.MonkeyPatch, *hosts: str, http: bool = True, **others: Any) -> None:
    """Set the hosts that the settings allow."""
    changed = {"outbound_allow_http": http, "outbound_allowed_hosts": hosts, "outbound_ca_file": None} | others
    config = settings().model_copy(update=changed)
    monkeypatch.setattr(outbound, "settings", lambda: config)


def resolves_to(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Resolve all names to these addresses, one answer after the other. Returns the names that were looked up."""
    asked: list[str] = []

    async def getaddrinfo(_: Lookups, host: str, port: int) -> list[Any]:
        asked.append(host)
        found = answers[min(len(asked), len(answers)) - 1]
        return [(2, 1, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(Lookups, "getaddrinfo", getaddrinfo)
    return asked


def leads_here(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Resolve these names to loopback, and others as usual."""
    real = Lookups.getaddrinfo

    async def getaddrinfo(self: Lookups, host: str, port: int) -> list[Any]:
        return await real(self, "127.0.0.1" if host in names else host, port)

    monkeypatch.setattr(Lookups, "getaddrinfo", getaddrinfo)


@dataclass
class Authority:
    """A certificate authority that is not trusted."""

    folder: Path

    def __post_init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
        basic = x509.BasicConstraints(ca=True, path_length=None)
        made = self._builder(self.name, self.key).add_extension(basic, critical=True)
        self.file = self._write("authority.pem", made.sign(self.key, hashes.SHA256()).public_bytes(_PEM))

    def context(self, host: str) -> ssl.SSLContext:
        """Return the TLS context of a server with this name."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName(host)])
        made = self._builder(x509.Name([]), key).add_extension(names, critical=True).sign(self.key, hashes.SHA256())
        secret = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._write(f"{host}.pem", secret + made.public_bytes(_PEM)))
        return context

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
        return x509.CertificateBuilder(
            self.name, subject, key.public_key(), x509.random_serial_number(), now - day, now + day
        )

    def _write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path


_PEM = serialization.Encoding.PEM
