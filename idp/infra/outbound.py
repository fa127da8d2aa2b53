"""The HTTP client. No other code sends requests to other servers.

A URL in a setting, in a provider's metadata or in a client's registration may point into our own network (SSRF). The
guard checks the address at the moment of connecting, and connects to that same address, so a DNS name that changes
between check and use (DNS rebinding) does not get past it.
"""

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import httpcore
import httpx

from idp.infra.metrics.declared import Histogram
from idp.infra.name_lookups import CONFIGURED, Lookups
from idp.infra.tracing import spans
from idp.settings import settings

TIMEOUT_SECONDS = 10.0
#: Default maximum size of a response body, in bytes.
MAX_BYTES = 1024 * 1024
#: Maximum length of :func:`cause`.
MAX_CAUSE_LENGTH: Final = 200

CALLS = Histogram(
    "idp_outbound_request_duration_seconds",
    "Time until the response of another server began, by outcome: class of the status, timeout or error.",
    "outcome",
)

#: Raised by a call without a response, or with an error response.
CallFailed = httpx.HTTPError
#: One that took too long.
CallTimedOut = httpx.TimeoutException
#: Keeps connections to other servers, see :func:`client`.
Client = httpx.AsyncClient

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
#: Public IPv6 addresses are allocated from here only (RFC 4291 section 2.4). Outside are IPv4-compatible and site-local
#: addresses, and those that a NAT64 makes for its own network (RFC 8215).
_UNICAST = ipaddress.ip_network("2000::/3")
#: IPv4 addresses as IPv6-only networks write them (RFC 6052).
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
#: Addresses that some Python releases take for public.
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(text)
    for text in (
        "192.0.0.0/24",  # protocols of the IETF: some of these addresses are the nearest router
        "192.88.99.0/24",  # relays of 6to4
        "2001::/23",  # like 192.0.0.0/24, and Teredo, which contains IPv4 addresses
        "2002::/16",  # 6to4, which contains IPv4 addresses
        "3fff::/20",  # for documentation (RFC 9637)
        "168.63.129.16/32",  # looks public, but is the host of the virtual machine in Azure
    )
)


def failure_fields(error: httpx.HTTPError) -> dict[str, Any]:
    """Return the log fields of a failed call: its class, its cause, and the status of an error response."""
    fields: dict[str, Any] = {"error": type(error).__qualname__, "reason": cause(error)}
    if isinstance(error, httpx.HTTPStatusError):
        fields["status"] = error.response.status_code
    return fields


def cause(error: Exception) -> str:
    """Return why a call gave no usable response, as a sentence for the operator. It does not quote the URL, which may
    have a secret in it.

    Args:
        error: of the call, or of decoding the body.
    """
    match error:
        case httpx.HTTPStatusError():
            return f"The response has status {error.response.status_code}."
        case TimeoutError() | httpx.TimeoutException():
            return "There was no response in time."
        case UnicodeError():
            return "The response is no text."
    # The text of a library may quote a part of the response.
    text = "".join(character for character in str(error).strip() if character.isprintable())[:MAX_CAUSE_LENGTH]
    return f"{(text or type(error).__qualname__).removesuffix('.')}."


class ForbiddenAddressError(httpx.ConnectError):
    """The guard does not allow a call to this server."""


class TooLongError(httpx.RemoteProtocolError):
    """The body of a response is longer than the limit."""


class CompressedError(httpx.RemoteProtocolError):
    """The body of a response is compressed, although that was not requested."""


def is_public(address: IPAddress) -> bool:
    """Return whether an address is public. One that contains an IPv4 address is judged by that."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in _NAT64:
            return is_public(ipaddress.IPv4Address(address.packed[-4:]))
        if address not in _UNICAST:
            return False
    return address.is_global and not address.is_multicast and not any(address in network for network in _NOT_PUBLIC)


def _is_allowed(host: str, address: IPAddress) -> bool:
    if is_public(address):
        return True
    for allowed in settings().outbound_allowed_hosts:
        try:
            if address in ipaddress.ip_network(allowed):
                return True
        except ValueError:
            if allowed.lower() == host.lower():
                return True
    return False


class Guard(httpcore.AsyncNetworkBackend):
    """Resolves a name, checks its addresses, and connects to one of those addresses."""

    def __init__(self, own: Collection[str], lookups: Lookups = CONFIGURED) -> None:
        """
        Args:
            own: origins of our own server, which are allowed at any address. Their exact hosts and ports.
            lookups: the group of lookups that names are resolved in: who chooses the servers.
        """
        self._own = {_endpoint(origin) for origin in own}
        self._lookups = lookups
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 -- the interface is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self.allowed(host, port)
        # An address that drops packets must leave time for the next ones.
        timeout = timeout and timeout / len(addresses)
        for address in addresses[:-1]:
            try:
                return await self._network.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._network.connect_tcp(str(addresses[-1]), port, timeout, local_address, socket_options)

    async def allowed(self, host: str, port: int) -> list[IPAddress]:
        """Return the addresses of a host.

        Raises:
            ForbiddenAddressError: one of them is not allowed.
        """
        own = (host, port) in self._own
        if settings().isolated and not own:
            raise ForbiddenAddressError("IDP_ISOLATED is set.")
        addresses = await _resolve(host, port, self._lookups)
        if not own and not all(_is_allowed(host, address) for address in addresses):
            raise ForbiddenAddressError("The server has no public address.")
        return addresses

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise ForbiddenAddressError("Only network servers may be called.")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _endpoint(origin: str) -> tuple[str | None, int]:
    parts = urlsplit(origin)
    return parts.hostname, parts.port or {"https": 443, "http": 80}[parts.scheme]


async def _resolve(host: str, port: int, lookups: Lookups) -> list[IPAddress]:
    try:
        found = await lookups.getaddrinfo(host, port)
        # Only link-local addresses have a zone.
        return list(dict.fromkeys(ipaddress.ip_address(str(item[4][0]).partition("%")[0]) for item in found))
    except (OSError, ValueError, UnicodeError) as error:
        raise httpx.ConnectError("The server's name cannot be resolved.") from error


@contextmanager
def httpx_errors() -> Iterator[None]:
    """Convert httpcore's errors to those of httpx with the same name."""
    try:
        yield
    except httpcore.TimeoutException as error:
        raise getattr(httpx, type(error).__name__)("There was no response in time.") from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
        raise getattr(httpx, type(error).__name__)(str(error)) from error


class _Transport(httpx.AsyncBaseTransport):
    """A transport with TLS that limits the size and the time of a response and decompresses nothing."""

    def __init__(
        self,
        max_bytes: int,
        timeout_seconds: float,
        own: Collection[str],
        lookups: Lookups = CONFIGURED,
        *,
        cookies: bool = False,
    ) -> None:
        tls = tls_context()
        self._max_bytes = max_bytes
        self._timeout_seconds = timeout_seconds
        self._own, self._cookies = own, cookies
        self._pool = httpcore.AsyncConnectionPool(ssl_context=tls, network_backend=Guard(own, lookups), retries=0)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._check(request.url)
        # A short response must not become a long one by decompression.
        request.headers["Accept-Encoding"] = "identity"
        if not self._cookies:
            # Otherwise libraries would keep the cookies of earlier responses.
            request.headers.pop("cookie", None)
        started = asyncio.get_running_loop().time()
        deadline, outcome = started + self._timeout_seconds, "error"
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._send_traced(request)
            outcome = f"{response.status // 100}xx"
        except TimeoutError as error:
            outcome = "timeout"
            raise httpx.ReadTimeout("There was no response in time.") from error
        except (CallTimedOut, asyncio.CancelledError):
            # Cancelled by the time limit of the caller, which may include other requests.
            outcome = "timeout"
            raise
        finally:
            CALLS.observe(asyncio.get_running_loop().time() - started, outcome)
        body = _Bounded(response.stream, self._max_bytes, deadline)
        if _content_encoding(response) != "identity":
            await body.aclose()
            raise CompressedError("The response is compressed, although that was not requested.")
        return httpx.Response(
            response.status, headers=response.headers, stream=body, extensions=dict(response.extensions)
        )

    async def _send_traced(self, request: httpx.Request) -> httpcore.Response:
        # Not the URL: its path may name a user, and some receivers have a secret in it.
        named: spans.Attributes = {
            "http.request.method": request.method,
            "url.scheme": request.url.scheme,
            "server.address": request.url.host,
            "server.port": request.url.port or (443 if request.url.scheme == "https" else 80),
        }
        with spans.call(request.method, named) as span:
            request.headers.update(spans.headers())
            response = await self._send(request)
            if span is not None:
                spans.answered(span, response.status, failed=response.status >= httpx.codes.BAD_REQUEST)
        return response

    async def _send(self, request: httpx.Request) -> httpcore.Response:
        url = request.url
        with httpx_errors():
            return await self._pool.handle_async_request(
                httpcore.Request(
                    request.method,
                    httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )

    async def aclose(self) -> None:
        await self._pool.aclose()

    def _check(self, url: httpx.URL) -> None:
        """Check the parts of a URL that need no name resolution."""
        if url.userinfo:
            raise ForbiddenAddressError("A URL with a user name or a password is not allowed.")
        origin = f"{url.scheme}://{url.netloc.decode()}"
        if url.scheme != "https" and not settings().outbound_allow_http and origin not in self._own:
            raise ForbiddenAddressError("The URL of another server must use https.")


def _content_encoding(response: httpcore.Response) -> str:
    return str(httpx.Headers(response.headers).get("content-encoding", "identity")).lower()


class _Bounded(httpx.AsyncByteStream):
    """A body with a maximum size, and a deadline by the loop's clock."""

    def __init__(self, stream: Any, max_bytes: int, deadline: float) -> None:
        self._stream = stream
        self._left = max_bytes
        self._deadline = deadline

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = aiter(self._stream)
        while (chunk := await self._next(chunks)) is not None:
            self._left -= len(chunk)
            if self._left < 0:
                raise TooLongError("The response is too long.")
            yield chunk

    async def _next(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        try:
            with httpx_errors():
                async with asyncio.timeout_at(self._deadline):
                    return await anext(chunks, None)
        except TimeoutError as error:
            raise httpx.ReadTimeout("The response did not end in time.") from error

    async def aclose(self) -> None:
        await self._stream.aclose()


def transport(
    *, max_bytes: int = MAX_BYTES, timeout_seconds: float = TIMEOUT_SECONDS, own: Collection[str] = ()
) -> httpx.AsyncBaseTransport:
    """Return a transport for libraries that create their own httpx client.

    A call that is refused or exceeds a limit raises :data:`CallFailed`. No cookies are sent.

    Args:
        max_bytes: the maximum size of a body.
        timeout_seconds: the limit for each request, from name resolution to the last byte of the response.
        own: origins of our own server, which may be called at any address. For the demo client of development mode,
            and for `idp doctor`.
    """
    return _Transport(max_bytes, timeout_seconds, own)


def client(
    *,
    max_bytes: int = MAX_BYTES,
    timeout_seconds: float = TIMEOUT_SECONDS,
    own: Collection[str] = (),
    lookups: Lookups = CONFIGURED,
) -> httpx.AsyncClient:
    """Return a client with the limits of :func:`transport`. It follows no redirects and ignores proxy variables and
    netrc.

    Args:
        lookups: who chooses the servers.
    """
    return _client(_Transport(max_bytes, timeout_seconds, own, lookups), timeout_seconds)


def _client(transport: httpx.AsyncBaseTransport, timeout_seconds: float) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=transport, timeout=timeout_seconds, follow_redirects=False, trust_env=False)


async def get(
    url: str,
    headers: Mapping[str, str],
    *,
    timeout_seconds: float = TIMEOUT_SECONDS,
    max_bytes: int,
    redirects: int = 0,
    lookups: Lookups = CONFIGURED,
) -> bytes:
    """GET a URL and return the body.

    Args:
        timeout_seconds: the limit for the whole call, from name resolution to the last byte.
        max_bytes: the maximum size of the body.
        redirects: the maximum number of redirects to follow. Each URL is checked like the first.
        lookups: who chooses the server.

    Raises:
        ForbiddenAddressError: the URL or its address is not allowed.
        CallFailed: there was no response in time, an error status, or a body that is too long.
    """
    response = await _get(url, headers, timeout_seconds, max_bytes, redirects, lookups=lookups)
    response.raise_for_status()
    return response.content


class Document(NamedTuple):
    """A response with status 200. The names of its headers are in lower case."""

    body: bytes
    headers: Mapping[str, str]


async def get_document(
    url: str,
    headers: Mapping[str, str],
    *,
    timeout_seconds: float = TIMEOUT_SECONDS,
    max_bytes: int,
    lookups: Lookups = CONFIGURED,
) -> Document:
    """GET a URL and return the body with the headers, which say how long it may be cached. No redirect is followed.

    Args:
        timeout_seconds: the limit for the whole call, from name resolution to the last byte.
        max_bytes: the maximum size of the body.
        lookups: who chooses the server.

    Raises:
        ForbiddenAddressError: the URL or its address is not allowed.
        CallFailed: there was no response in time, another status than 200, or a body that is too long.
    """
    response = await _get(url, headers, timeout_seconds, max_bytes, 0, lookups=lookups)
    if response.status_code != httpx.codes.OK:
        raise httpx.HTTPStatusError("The status is not 200.", request=response.request, response=response)
    return Document(response.content, dict(response.headers))


async def _get(
    url: str, headers: Mapping[str, str], timeout_seconds: float, max_bytes: int, redirects: int, *, lookups: Lookups
) -> httpx.Response:
    try:
        async with (
            asyncio.timeout(timeout_seconds),
            client(max_bytes=max_bytes, timeout_seconds=timeout_seconds, lookups=lookups) as http,
        ):
            response = await http.get(url, headers=dict(headers))
            while redirects and response.next_request is not None:
                redirects -= 1
                if response.url.scheme == "https" != response.next_request.url.scheme:
                    raise ForbiddenAddressError("A redirect away from https is not followed.")
                response = await http.send(response.next_request)
            return response
    except TimeoutError as error:
        raise httpx.ReadTimeout("There was no response in time.") from error
    except httpx.InvalidURL as error:
        raise httpx.UnsupportedProtocol("The address is not a URL.") from error


class Answer(NamedTuple):
    """Any response. The names of its headers are in lower case; ``body`` is the beginning of its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        return httpx.codes.is_success(self.status)


async def exchange(
    http: httpx.AsyncClient, method: str, url: str, headers: Mapping[str, str], body: bytes, *, read: int
) -> Answer:
    """Send a request and return the response, whatever its status. No redirect is followed.

    Args:
        http: a :func:`client`, whose time limit applies. Its connections are used again.
        read: the number of bytes of the response's body that are read. The rest is dropped.

    Raises:
        ForbiddenAddressError: the URL or its address is not allowed.
        CallFailed: there was no response in time.
    """
    received = bytearray()
    try:
        async with http.stream(method, url, content=body, headers=dict(headers)) as response:
            # The status is the answer, even if the body does not come.
            with suppress(httpx.HTTPError):
                async for chunk in response.aiter_raw():
                    received += chunk[: read - len(received)]
                    if len(received) >= read:
                        break
    except httpx.InvalidURL as error:
        raise httpx.UnsupportedProtocol("The address is not a URL.") from error
    return Answer(response.status_code, dict(response.headers), bytes(received))


class Observation(NamedTuple):
    """Any response, as it arrived.

    Attributes:
        headers: in their order; names in lower case.
        local: address and port of our end of the connection.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    local: tuple[str, int] | None

    def all(self, name: str) -> list[str]:
        """Return the values of a header."""
        return [value for header, value in self.headers if header == name]

    def header(self, name: str) -> str:
        """Return the first value of a header, or an empty string."""
        return next(iter(self.all(name)), "")


async def observe(
    method: str, url: str, headers: Mapping[str, str], body: bytes, *, own: Collection[str], timeout_seconds: float
) -> Observation:
    """Send one request, cookies included, and return the whole response. No redirect is followed.

    Args:
        own: see :func:`transport`.
        timeout_seconds: the limit for the whole call, from name resolution to the last byte.

    Raises:
        ForbiddenAddressError: the URL or its address is not allowed.
        CallFailed: there was no whole response in time, or it is too long.
    """
    try:
        async with (
            asyncio.timeout(timeout_seconds),
            _client(_Transport(MAX_BYTES, timeout_seconds, own, cookies=True), timeout_seconds) as http,
            http.stream(method, url, content=body, headers=dict(headers)) as response,
        ):
            # Before the body: the connection may be closed after it.
            local = response.extensions["network_stream"].get_extra_info("client_addr")
            content = await response.aread()
            pairs = [(name.lower(), value) for name, value in response.headers.multi_items()]
            return Observation(response.status_code, pairs, content, (local[0], local[1]) if local else None)
    except TimeoutError as error:
        raise httpx.ReadTimeout("There was no response in time.") from error
    except httpx.InvalidURL as error:
        raise httpx.UnsupportedProtocol("The address is not a URL.") from error


async def ask(http: httpx.AsyncClient, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """POST a body and return the whole response, whatever its status. No redirect is followed.

    A connection that the server has closed since its last use is replaced once: a question may be asked twice.

    Args:
        http: a :func:`client`, whose limits apply to both attempts together. Its connections are used again.

    Raises:
        ForbiddenAddressError: the URL or its address is not allowed.
        CallFailed: there was no whole response in time, or it is too long.
    """
    try:
        async with asyncio.timeout(http.timeout.read):
            try:
                response = await http.post(url, content=body, headers=dict(headers))
            except (TooLongError, CompressedError):
                raise
            except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
                response = await http.post(url, content=body, headers=dict(headers))
    except TimeoutError as error:
        raise httpx.ReadTimeout("There was no response in time.") from error
    except httpx.InvalidURL as error:
        raise httpx.UnsupportedProtocol("The address is not a URL.") from error
    return Answer(response.status_code, dict(response.headers), response.content)


async def post(url: str, body: bytes, content_type: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
    """POST a body, and require a response of success.

    Args:
        timeout_seconds: the limit for the whole call, from name resolution to the last byte.

    Raises:
        ForbiddenAddressError: the URL or its address is not allowed.
        CallFailed: there was no response in time, or an error status.
    """
    try:
        async with asyncio.timeout(timeout_seconds), client(timeout_seconds=timeout_seconds) as http:
            response = await http.post(url, content=body, headers={"Content-Type": content_type})
            if not response.is_success:
                raise httpx.HTTPStatusError("It was not accepted.", request=response.request, response=response)
    except TimeoutError as error:
        raise httpx.ReadTimeout("There was no response in time.") from error
    except httpx.InvalidURL as error:
        raise httpx.UnsupportedProtocol("The address is not a URL.") from error


def tls_context() -> ssl.SSLContext:
    """Return the context with the certificate authorities of the system and of the settings."""
    return _tls(settings().outbound_ca_file)


@cache
def _tls(ca_file: Path | None) -> ssl.SSLContext:
    """Return the TLS context. Cached, because reading the certificates is slow."""
    context = httpx.create_ssl_context(trust_env=False)
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context
