"""Cache invalidation: tells every worker of every replica that cached records have changed.

Each topic has a revision number, increased in the transaction of the change. Every worker reads the numbers once in
``reload_interval`` seconds, on the connections that requests use: a worker that can serve can also read them.
A notice (LISTEN/NOTIFY) only makes it read them at once: poolers lose notices, and some engines refuse LISTEN.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import structlog

from idp import clock
from idp.errors import IdpError
from idp.infra.db import outages, silence
from idp.infra.db.engine import engine, execute, fetch, lines, transaction
from idp.infra.logs import exception_fields
from idp.settings import settings

log = structlog.get_logger()

Handler = Callable[[], Awaitable[None]]

CHANNEL = "idp"
#: Wait between attempts to connect for notices: the first, doubled up to the longest.
FIRST_WAIT, LONGEST_WAIT = 0.25, 5.0
#: Wait after LISTEN was refused.
REFUSED_WAIT = 300.0
#: Seconds without a response after which a connection counts as lost.
TIMEOUT_SECONDS = 5.0

_LOCK_AND_ANNOUNCE = """
WITH raised AS (
    INSERT INTO revision (topic, number) VALUES ($1, 1)
    ON CONFLICT (topic) DO UPDATE SET number = revision.number + 1
)
SELECT pg_notify($2, $1)
"""
_POLL = """
SELECT r.topic, r.number, current_setting('transaction_read_only') = 'on' AS read_only, clock_timestamp() AS now
FROM (VALUES (1)) AS one LEFT JOIN revision AS r ON true
"""


async def lock_and_announce(topic: str) -> None:
    """Lock a topic until the end of the transaction, and announce that its records change.

    It is the first statement of a change: other changes of the topic wait here. After another statement it may
    deadlock with them.
    """
    await execute(_LOCK_AND_ANNOUNCE, topic, CHANNEL)


@asynccontextmanager
async def exclusive_change(topic: str) -> AsyncIterator[None]:
    """A transaction for a change of the records of a topic. Changes of one topic run one after the other."""
    async with transaction():
        await lock_and_announce(topic)
        yield


class Watch:
    """The revision numbers and the state of the database, as one worker last read them.

    Attributes:
        failing: topics whose records could not be loaded.
        listening: whether notices arrive; None while unknown.
        read_only: whether the database was read-only at the last poll.
        skew: seconds by which the clock of this machine is ahead of the database's.
    """

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self.handlers = handlers
        self.seen: dict[str, int] = {}
        self.failing: set[str] = set()
        self.listening: bool | None = None
        self.read_only = False
        self.skew = timedelta()
        #: The connection on which notices arrive.
        self._notices: Any = None
        self._woken = asyncio.Event()
        self._current_at = time.monotonic()
        self._polling = True
        #: Whether the next poll may reach another server, where the same number may mean other records.
        self._doubt = False

    @property
    def age(self) -> float:
        """Seconds since the whole cache was known to be current."""
        return time.monotonic() - self._current_at

    async def run(self) -> None:
        """Poll, and listen, until cancelled."""
        tasks = [asyncio.create_task(self._poll_for_ever())]
        if settings().database_prepared_statements:
            # Otherwise there is a pooler, which gives no client its own session.
            tasks.append(asyncio.create_task(self._listen_for_ever()))
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _poll_for_ever(self) -> None:
        while True:
            try:
                await self._poll_or_probe()
                if not self._polling:
                    log.info("polling_resumed")
                self._polling = True
            except outages.ERRORS as error:
                if self._polling:
                    log.warning("polling_interrupted", error=type(error).__name__)
                self._polling, self._doubt = False, True
            except Exception as error:
                if self._polling:
                    # Not log.exception: the text of an exception may quote anything.
                    log.error("polling_failed", **exception_fields(error))  # noqa: TRY400
                self._polling, self._doubt = False, True
            with suppress(TimeoutError):
                async with asyncio.timeout(settings().reload_interval):
                    await self._woken.wait()

    async def _poll_or_probe(self) -> None:
        """Poll, and find out whether PostgreSQL is silent: after a poll that failed, and while it is."""
        if lines().silent:
            await self._probe()
        try:
            await self._poll()
        except outages.ERRORS:
            await self._probe()
            raise

    async def _probe(self) -> None:
        try:
            await silence.probe()
        except outages.DatabaseUnavailableError:
            if self._notices is not None:
                # It would wait for a server that may have been replaced.
                self._notices.terminate()
            raise

    async def _poll(self) -> None:
        self._woken.clear()
        if self._doubt:
            self.seen.clear()
        self._doubt = False
        asked = clock.system()
        async with asyncio.timeout(TIMEOUT_SECONDS):
            rows = await fetch(_POLL)
        self.skew = asked + (clock.system() - asked) / 2 - rows[0]["now"]
        self.read_only = rows[0]["read_only"]
        if self.read_only:
            self._doubt = True
            await lines().read_only()
        numbers = {row["topic"]: row["number"] for row in rows}
        for topic in self.handlers:
            number = numbers.get(topic, 0)
            if self.seen.get(topic) != number and await self._handled(topic):
                self.seen[topic] = number
        if not self.failing:
            self._current_at = time.monotonic()

    async def _handled(self, topic: str) -> bool:
        try:
            await self._load(topic)
        except Exception as error:
            if lines().silent:
                # Each of the other topics would wait too.
                raise
            if topic not in self.failing:
                # Without the text of the exception, which may quote anything.
                log.error("reload_failed", topic=topic, error=type(error).__name__)  # noqa: TRY400
            self.failing.add(topic)
            return False
        self.failing.discard(topic)
        return True

    async def _load(self, topic: str) -> None:
        """Call the handler of a topic. If it takes long, find out whether PostgreSQL is silent, as for a poll."""
        loading = asyncio.ensure_future(self.handlers[topic]())
        try:
            while not (await asyncio.wait([loading], timeout=TIMEOUT_SECONDS))[0]:
                await self._probe()
            await loading
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)

    async def _listen_for_ever(self) -> None:
        wait = FIRST_WAIT
        while True:
            connection: Any = None
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    # A connection of its own: one from the pool would be taken from it permanently.
                    connection = await engine.get_new_connection()
                await self._listen(connection)
                wait = FIRST_WAIT
            except _RefusedError:
                wait = REFUSED_WAIT
            except outages.ERRORS as error:
                self._not_listening("notices_interrupted", error)
            finally:
                self._notices = None
                if connection is not None:
                    with suppress(Exception):
                        await connection.close(timeout=1)
            await asyncio.sleep(wait)
            wait = min(wait * 2, max(wait, LONGEST_WAIT))

    async def _listen(self, connection: Any) -> None:
        """Wake the poll on notices until the connection ends.

        Raises:
            _RefusedError: the server refuses LISTEN.
            OSError: the connection has ended.
        """
        ended = asyncio.Event()
        connection.add_termination_listener(lambda _: ended.set())
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await connection.add_listener(CHANNEL, lambda *_: self._woken.set())
        except outages.ERRORS as error:
            self._not_listening("notices_refused", error)
            raise _RefusedError from error
        if self.listening is False:
            log.info("notices_resumed")
        self.listening, self._notices = True, connection
        # For announcements before LISTEN.
        self._woken.set()
        await ended.wait()
        self._doubt = True
        self._woken.set()
        raise ConnectionResetError

    def _not_listening(self, event: str, error: Exception) -> None:
        if self.listening is not False:
            log.warning(event, error=type(error.__cause__ or error).__name__)
        self.listening = False


class _RefusedError(IdpError):
    """LISTEN was refused."""


#: The watch of this process.
_current: Watch | None = None


def current() -> Watch | None:
    """Return the watch of this process; None if it does not watch."""
    return _current


async def watch(handlers: Mapping[str, Handler]) -> None:
    """Call the handler of each topic whenever its records may have changed, until cancelled.

    All handlers are called at the start and after every outage of the database, so that no change is missed. A handler
    that raises is called again at the next poll.
    """
    global _current  # noqa: PLW0603
    _current = Watch(handlers)
    try:
        await _current.run()
    finally:
        _current = None
