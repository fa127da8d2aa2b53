"""One connection to a directory: bind, search, StartTLS (RFC 4511). Referrals are not followed.

The messages are those of sansldap, a library without connections. Each operation has a deadline and a limit of bytes.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, suppress
from typing import NamedTuple, Self, TypeVar

import sansldap
from sansldap import LDAPResult, LDAPResultCode, SearchScope

from idp.federation.errors import UpstreamUnavailableError
from idp.federation.ldap.options import Server
from idp.infra import outbound
from idp.infra.outbound_streams import Stream, tls_context
from idp.infra.tracing import spans

_Response = TypeVar("_Response", sansldap.BindResponse, sansldap.ExtendedResponse)

#: Seconds to connect, with the TLS handshake; and for one operation.
CONNECT_SECONDS, OPERATION_SECONDS = 4.0, 4.0
#: Bytes of the responses of one operation. Only named attributes are requested, so entries are small.
MAX_BYTES = 4 * 1024 * 1024
#: Bytes that are parsed at a time.
_SLICE = 8 * 1024
#: Entries that one page asks for (RFC 2696). Active Directory returns at most 1000.
PAGE = 500
#: Pages and entries after which the list is given up.
MAX_PAGES, MAX_ENTRIES = 10_000, 2_000_000


_FAILURES = (outbound.CallFailed, sansldap.LDAPError, OSError, ValueError, LookupError, RecursionError)


class RefusedByDirectoryError(UpstreamUnavailableError):
    """The directory responds, but refuses the operation, or its response is too long. It is not down."""


class TooManyEntriesError(RefusedByDirectoryError):
    """The directory returns only some of the entries that match."""


class Entry(NamedTuple):
    """An entry of the directory.

    Attributes:
        attributes: by name in lower case. An attribute with options, such as ``member;range=0-1499``, has its own name.
    """

    dn: str
    attributes: dict[str, tuple[bytes, ...]]

    def values(self, name: str) -> tuple[bytes, ...]:
        return self.attributes.get(name.lower(), ())

    def texts(self, name: str) -> list[str]:
        """Return the values that are UTF-8, in the order of the directory, which means nothing."""
        found = []
        for value in self.values(name):
            with suppress(UnicodeDecodeError):
                found.append(value.decode())
        return found


class Connection:
    """An open connection. After an error it cannot be used again."""

    def __init__(self, server: Server, stream: Stream) -> None:
        self.server = server
        self._stream = stream
        self._session = sansldap.LDAPClient()
        self._received = 0

    @classmethod
    async def open(cls, server: Server, ca: str | None) -> Self:
        """Connect, with TLS unless the server is this machine and its URL says so.

        Args:
            ca: certificate authorities as PEM; None: those of ``IDP_OUTBOUND_CA_FILE`` and of the system.

        Raises:
            UpstreamUnavailableError: the server does not answer, or its certificate is not valid.
        """
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                stream = await Stream.open(server.host, server.port, timeout_seconds=CONNECT_SECONDS)
                connection = cls(server, stream)
                try:
                    await connection._secure(server, tls_context(ca) if ca else outbound.tls_context())
                except BaseException:
                    await stream.close()
                    raise
        except TimeoutError as error:
            raise UpstreamUnavailableError(f"{server.url} does not answer within {CONNECT_SECONDS:g} s.") from error
        except (outbound.CallFailed, OSError) as error:
            raise UpstreamUnavailableError(f"{server.url} cannot be reached. {outbound.cause(error)}") from error
        return connection

    async def _secure(self, server: Server, context: ssl.SSLContext) -> None:
        if server.ldaps:
            await self._stream.start_tls(context, server.host)
        elif server.start_tls:
            await self._start_tls(server)
            await self._stream.start_tls(context, server.host)
        elif not self._stream.is_loopback:
            raise UpstreamUnavailableError(f"{server.url} is not this machine, so it must use TLS.")

    async def _start_tls(self, server: Server) -> None:
        async with self._operation("start TLS"):
            request = self._session.extended_request(sansldap.ExtendedOperations.LDAP_START_TLS.value)
            result = (await self._response(request, sansldap.ExtendedResponse)).result
        if result.result_code != LDAPResultCode.SUCCESS:
            raise UpstreamUnavailableError(f"{server.url} refuses StartTLS: {describe(result)}")
        # A new session: plain text that came after the response is not part of the protected connection.
        self._session = sansldap.LDAPClient()

    async def bind(self, dn: str, password: str) -> LDAPResult:
        """Bind with a password, and return the result, which is an error for a wrong password.

        Raises:
            ValueError: the name or the password is empty. A server would accept that as an anonymous bind (RFC 4513
                section 5.1.2).
            UpstreamUnavailableError: there was no valid response.
        """
        if not dn or not password:
            raise ValueError("A bind without a name or a password proves nothing.")
        return await self._bind(dn, password)

    async def bind_anonymously(self) -> LDAPResult:
        return await self._bind("", "")

    async def _bind(self, dn: str, password: str) -> LDAPResult:
        async with self._operation("bind"):
            return (await self._response(self._session.bind_simple(dn, password), sansldap.BindResponse)).result

    async def search(
        self,
        base: str,
        filter: sansldap.LDAPFilter,
        attributes: Sequence[str],
        *,
        limit: int,
        scope: SearchScope = SearchScope.SUBTREE,
    ) -> list[Entry]:
        """Return the entries that match, at most ``limit`` of them. A base that does not exist has none.

        Raises:
            UpstreamUnavailableError: there was no valid response, or the server refuses the search.
        """
        async with self._operation("search"):
            request = self._session.search_request(
                base, scope, size_limit=limit, time_limit=int(OPERATION_SECONDS), filter=filter,
                attributes=list(attributes),
            )  # fmt: skip
            entries, done = await self._entries(request)
        allowed = (LDAPResultCode.SUCCESS, LDAPResultCode.NO_SUCH_OBJECT, LDAPResultCode.SIZE_LIMIT_EXCEEDED)
        if done.result.result_code not in allowed:
            raise RefusedByDirectoryError(f"The search was refused: {describe(done.result)}")
        return entries[:limit]

    async def pages(
        self, base: str, filter: sansldap.LDAPFilter, attributes: Sequence[str]
    ) -> AsyncIterator[list[Entry]]:
        """Return all entries that match, page by page (RFC 2696). Each page has a deadline of its own.

        Raises:
            UpstreamUnavailableError: as for :meth:`search`, or the base does not exist.
            TooManyEntriesError: the directory ends before the last entry, or does not end.
        """
        # A cookie may be that of the page before: some servers send the same for the whole search.
        cookie, number = b"", 0
        for _ in range(MAX_PAGES):
            async with self._operation("search"):
                # A server without paging returns all entries at once, or its limit is exceeded.
                control = sansldap.PagedResultControl(critical=False, size=PAGE, cookie=cookie)
                request = self._session.search_request(
                    base, SearchScope.SUBTREE, filter=filter, attributes=list(attributes), controls=[control]
                )
                entries, done = await self._entries(request)
            if done.result.result_code == LDAPResultCode.SIZE_LIMIT_EXCEEDED:
                raise TooManyEntriesError(f"The search was cut off: {describe(done.result)}")
            if done.result.result_code != LDAPResultCode.SUCCESS:
                raise RefusedByDirectoryError(f"The search was refused: {describe(done.result)}")
            number += len(entries)
            if number > MAX_ENTRIES:
                raise TooManyEntriesError(f"The search has more than {MAX_ENTRIES} entries.")
            yield entries
            cookie = next((each.cookie for each in done.controls if isinstance(each, sansldap.PagedResultControl)), b"")
            if not cookie:
                return
        raise TooManyEntriesError(f"The search has more than {MAX_PAGES} pages.")

    async def close(self) -> None:
        """Say goodbye and close, without waiting for the server."""
        with suppress(Exception):
            async with asyncio.timeout(1):
                self._session.unbind()
                await self._stream.write(self._session.data_to_send())
        with suppress(Exception):
            await self._stream.close()

    @property
    def is_stale(self) -> bool:
        """Whether the server closed the connection while it was idle."""
        return self._stream.is_stale

    def _operation(self, name: str) -> "_Operation":
        self._received = 0
        named: spans.Attributes = {"server.address": self.server.host, "server.port": self.server.port}
        return _Operation(spans.call(f"LDAP {name}", named))

    async def _entries(self, request: int) -> tuple[list[Entry], sansldap.SearchResultDone]:
        entries = []
        async for message in self._messages(request):
            match message:
                case sansldap.SearchResultEntry():
                    attributes = {each.name.lower(): tuple(each.values) for each in message.attributes}
                    entries.append(Entry(message.object_name, attributes))
                case sansldap.SearchResultDone():
                    return entries, message
                case sansldap.SearchResultReference():
                    pass
                case _:
                    raise UpstreamUnavailableError("The response is of another kind than the request.")
        raise UpstreamUnavailableError("The server closed the connection.")

    async def _response(self, request: int, kind: type[_Response]) -> _Response:
        async for message in self._messages(request):
            if isinstance(message, kind):
                return message
            raise UpstreamUnavailableError("The response is of another kind than the request.")
        raise UpstreamUnavailableError("The server closed the connection.")

    async def _messages(self, request: int) -> AsyncIterator[sansldap.LDAPMessage]:
        """Send what the session wrote, and return the messages that respond to it."""
        await self._stream.write(self._session.data_to_send())
        while data := await self._stream.read():
            self._received += len(data)
            if self._received > MAX_BYTES:
                raise RefusedByDirectoryError(f"The response has more than {MAX_BYTES} bytes.")
            for start in range(0, len(data), _SLICE):
                for message in self._session.receive(data[start : start + _SLICE]):
                    if message.message_id != request:
                        raise UpstreamUnavailableError("The response belongs to no request.")
                    yield message
                # Parsing a slice takes milliseconds. Others may go on between two of them.
                await asyncio.sleep(0)


class _Operation:
    """The deadline of one operation. What goes wrong in it is an :class:`UpstreamUnavailableError`."""

    def __init__(self, span: AbstractContextManager[object]) -> None:
        self._deadline = asyncio.timeout(OPERATION_SECONDS)
        self._span = span

    async def __aenter__(self) -> None:
        await self._deadline.__aenter__()
        self._span.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._span.__exit__(kind, error, trace)  # type: ignore[arg-type]
        try:
            await self._deadline.__aexit__(kind, error, trace)  # type: ignore[arg-type]
        except TimeoutError as late:
            raise UpstreamUnavailableError(f"There is no response within {OPERATION_SECONDS:g} s.") from late
        # sansldap reports what is not LDAP by its own errors or, in parts of messages, by those of Python.
        if isinstance(error, _FAILURES):
            raise UpstreamUnavailableError(f"The connection failed. {outbound.cause(error)}") from error


def describe(result: LDAPResult) -> str:
    """Return a result in words, for the operator: its name, its number, and the message of the server."""
    name = result.result_code.name.lower().replace("_", " ")
    message = "".join(character for character in result.diagnostics_message if character.isprintable())[:200]
    return f"{name} ({result.result_code.value}){f', {message}' if message else ''}."
