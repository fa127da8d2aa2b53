"""Guarded connections to other servers, for protocols other than HTTP.

The address is checked by the guard of :mod:`idp.infra.outbound` at the moment of connecting. No function here limits
the time of a call: the caller has a deadline for all of its calls (:func:`asyncio.timeout`).
"""

import asyncio
import ipaddress
import ssl
from collections.abc import Collection
from functools import cache
from typing import Any, Self

import httpcore

from idp.infra.outbound import CallFailed, Guard, httpx_errors

#: Bytes that one read returns at most.
READ_BYTES = 64 * 1024


class Stream:
    """A connection. Every call raises :data:`idp.infra.outbound.CallFailed` if it fails."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    @classmethod
    async def open(cls, host: str, port: int, *, timeout_seconds: float, own: Collection[str] = ()) -> Self:
        """Connect to an address that the guard allows.

        Args:
            timeout_seconds: limit for all addresses of the name together.
            own: see :func:`idp.infra.outbound.transport`.
        """
        with httpx_errors():
            return cls(await Guard(own).connect_tcp(host, port, timeout_seconds))

    async def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Continue with TLS. The certificate must be that of ``host``."""
        with httpx_errors():
            self._stream = await self._stream.start_tls(context, host)

    async def read(self) -> bytes:
        """Return the bytes that arrived. Empty: the server closed the connection."""
        with httpx_errors():
            return await self._stream.read(READ_BYTES)

    async def write(self, data: bytes) -> None:
        with httpx_errors():
            await self._stream.write(data)

    async def close(self) -> None:
        await self._stream.aclose()

    @property
    def certificate(self) -> tuple[dict[str, Any], str]:
        """The verified certificate of the server, as :mod:`ssl` shows it, and the version of TLS."""
        tls = self._stream.get_extra_info("ssl_object")
        return tls.getpeercert(), tls.version()

    @property
    def is_loopback(self) -> bool:
        """Whether the peer is this machine."""
        address = self._stream.get_extra_info("server_addr")
        return address is not None and ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback

    @property
    def is_stale(self) -> bool:
        """Whether there is something to read although nothing was sent: the server closed the connection."""
        return bool(self._stream.get_extra_info("is_readable"))


class _Question(asyncio.DatagramProtocol):
    """Waits for one datagram."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def ask_datagram(host: str, port: int, question: bytes) -> bytes:
    """Send a datagram to an address that the guard allows, and return the first one that comes back from there.

    Raises:
        CallFailed: the address is not allowed, or does not listen.
    """
    (address, *_) = await Guard(()).allowed(host, port)
    transport, asked = await asyncio.get_running_loop().create_datagram_endpoint(
        _Question, remote_addr=(str(address), port)
    )
    try:
        transport.sendto(question)
        return await asked.answer
    except OSError as error:
        raise CallFailed("The server does not answer.") from error
    finally:
        transport.close()


@cache
def tls_context(ca: str) -> ssl.SSLContext:
    """Return a context that trusts only these certificate authorities. Cached, because reading them is slow.

    Args:
        ca: one or more certificates, as PEM.

    Raises:
        ssl.SSLError, ValueError: it is not PEM.
    """
    context = ssl.create_default_context(cadata=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
