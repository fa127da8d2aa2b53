"""The connections to a directory: few, used again, and not tried while no server answers.

A sign-in does not wait for a directory that is known to be down: after a failure of all servers, one attempt in
``RETRY_SECONDS`` tries them, and the others fail at once.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog
from sansldap import LDAPResultCode

from idp.errors import OverloadedError
from idp.federation.errors import UpstreamUnavailableError
from idp.federation.ldap.connection import Connection, RefusedByDirectoryError, describe
from idp.federation.ldap.options import Directory, Server

log = structlog.get_logger()

#: Connections to one directory from one process, and seconds that a sign-in waits for one of them.
MAX_CONNECTIONS, WAIT_SECONDS = 8, 2.0
#: Seconds after which an unused connection is closed: before a directory or a firewall forgets it.
IDLE_SECONDS = 60.0
#: Operations in a row that fail at a server that can be connected to, after which it counts as down.
MAX_FAILURES = 2
#: Seconds without an attempt after all servers failed, and seconds in which a server that failed comes last.
RETRY_SECONDS, LAST_SECONDS = 15.0, 60.0


class Pool:
    """The connections to one directory, bound as the name that idp searches by."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS)
        self._idle: list[tuple[Connection, float]] = []
        self._failed: dict[str, float] = {}
        self._down = False
        self._failures = 0
        self._closed_until = 0.0
        self._closed = False

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection that may search. After any error it is closed.

        Raises:
            UpstreamUnavailableError: no server answers.
            OverloadedError: all connections are in use.
        """
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._slots.acquire()
        except TimeoutError as error:
            raise OverloadedError("Too many sign-ins wait for the directory.") from error
        try:
            lent = await self._reused() or await self._open()
            try:
                yield lent
            except BaseException as error:
                await lent.close()
                if isinstance(error, UpstreamUnavailableError) and not isinstance(error, RefusedByDirectoryError):
                    self._note_failure(lent)
                raise
            self._failures = 0
            if self._closed:
                await lent.close()
            else:
                self._idle.append((lent, time.monotonic()))
        finally:
            self._slots.release()

    def _note_failure(self, connection: Connection) -> None:
        """Let another server come first. If that is no better, do not try for a while."""
        self._failed[connection.server.url] = time.monotonic()
        self._failures += 1
        if self._failures >= MAX_FAILURES:
            self._close_circuit()

    def _close_circuit(self) -> None:
        self._down, self._closed_until = True, time.monotonic() + RETRY_SECONDS

    async def _reused(self) -> Connection | None:
        while self._idle:
            connection, since = self._idle.pop()
            if time.monotonic() - since < IDLE_SECONDS and not connection.is_stale:
                return connection
            await connection.close()
        return None

    async def _open(self) -> Connection:
        if time.monotonic() < self._closed_until:
            raise UpstreamUnavailableError("The directory did not answer a moment ago.")
        if self._down:
            # While this attempt lasts, the others fail at once.
            self._close_circuit()
        failure = UpstreamUnavailableError("There is no server.")
        for server in sorted(self.directory.servers, key=self._is_last):
            try:
                connection = await self._bound(server)
            except UpstreamUnavailableError as error:
                self._failed[server.url] = time.monotonic()
                log.warning(
                    "directory_server_failed", path=self.directory.upstream.id, host=server.host, error=str(error)
                )
                failure = error
                continue
            self._down, self._closed_until = False, 0.0
            return connection
        self._close_circuit()
        raise failure

    def _is_last(self, server: Server) -> bool:
        return time.monotonic() - self._failed.get(server.url, -LAST_SECONDS) < LAST_SECONDS

    async def _bound(self, server: Server) -> Connection:
        connection = await Connection.open(server, self.directory.ca)
        try:
            await bind_as_idp(connection, self.directory)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def close(self) -> None:
        """Close the unused connections, and those that are lent when they come back."""
        self._closed = True
        while self._idle:
            await self._idle.pop()[0].close()


async def bind_as_idp(connection: Connection, directory: Directory) -> None:
    """Bind as the name that idp searches by.

    Raises:
        UpstreamUnavailableError: the directory refuses the name and the password of the configuration.
    """
    if directory.bind_dn:
        result = await connection.bind(directory.bind_dn, directory.upstream.client_secret or "")
    else:
        result = await connection.bind_anonymously()
    if result.result_code != LDAPResultCode.SUCCESS:
        raise UpstreamUnavailableError(f"The bind as {directory.bind_dn or 'nobody'} was refused: {describe(result)}")


_pools: dict[str, Pool] = {}


def pool_of(directory: Directory) -> Pool:
    """Return the pool of a directory. A changed configuration has a new one."""
    known = _pools.get(directory.upstream.id)
    if known is None or known.directory != directory:
        if known is not None:
            # In the background: a server that does not answer must not delay this sign-in.
            task = asyncio.ensure_future(known.close())
            _closing.add(task)
            task.add_done_callback(_closing.discard)
        known = _pools[directory.upstream.id] = Pool(directory)
    return known


_closing: set[asyncio.Future[None]] = set()


async def close_all() -> None:
    """Close all pools, before the event loop ends."""
    for pool in list(_pools.values()):
        with suppress(Exception):
            await pool.close()
    _pools.clear()
    # Also those that a change of the configuration has replaced.
    await asyncio.gather(*_closing, return_exceptions=True)
