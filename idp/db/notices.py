"""Tells every worker of every replica that records which it keeps in memory have changed.

Each topic has a revision number, raised in the transaction of the change. A notice (LISTEN/NOTIFY)
wakes the workers at once; where notices do not arrive, as behind a pooler, they see the number
within :data:`POLL_SECONDS` nevertheless.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import structlog

from idp.db.engine import engine, execute

log = structlog.get_logger()

Handler = Callable[[], Awaitable[None]]

CHANNEL = "idp"
POLL_SECONDS = 1.0
#: Waits between attempts to connect: the first, doubled up to the last.
FIRST_WAIT, LONGEST_WAIT = 0.25, 5.0
#: No answer for so long counts as a lost connection.
TIMEOUT_SECONDS = 5.0

_LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)

_ANNOUNCE = """
WITH raised AS (
    INSERT INTO revision (topic, number) VALUES ($1, 1)
    ON CONFLICT (topic) DO UPDATE SET number = revision.number + 1
)
SELECT pg_notify($2, $1)
"""


async def announce(topic: str) -> None:
    """Say in the current transaction that the records of a topic change.

    Until the transaction ends, others that announce the same topic wait: announced first, it makes
    changes of the topic happen one after the other.
    """
    await execute(_ANNOUNCE, topic, CHANNEL)


async def watch(handlers: Mapping[str, Handler]) -> None:
    """Call the handler of a topic whenever its records may have changed, until cancelled.

    All handlers are called after every connect, the first one too, so that no change is missed. A
    handler that raises is called again at the next poll.
    """
    watcher = _Watcher(handlers)
    wait, available = FIRST_WAIT, True
    while True:
        try:
            async with _connection() as connection:
                await watcher.subscribe(connection)
                await watcher.poll(connection)
                if not available:
                    log.info("notices_resumed")
                wait, available = FIRST_WAIT, True
                while True:
                    await watcher.pause()
                    await watcher.poll(connection)
        except _LOST as error:
            if available:
                log.warning("notices_interrupted", error=type(error).__name__)
            available = False
        await asyncio.sleep(wait)
        wait = min(wait * 2, LONGEST_WAIT)


@asynccontextmanager
async def _connection() -> AsyncIterator[Any]:
    """A connection of its own: one from the pool would be missing there for good."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        connection = await asyncpg.connect(**engine.config, command_timeout=TIMEOUT_SECONDS)
    try:
        yield connection
    finally:
        with suppress(Exception):
            await connection.close(timeout=1)


class _Watcher:
    """What one worker has seen of the revision numbers."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self.handlers = handlers
        self.seen: dict[str, int] = {}
        self.failing: set[str] = set()
        self.woken = asyncio.Event()

    async def subscribe(self, connection: Any) -> None:
        """Be woken by notices on this connection, and by its end. What was seen before is void."""
        self.seen.clear()
        connection.add_termination_listener(lambda _: self.woken.set())
        await connection.add_listener(CHANNEL, lambda *_: self.woken.set())

    async def poll(self, connection: Any) -> None:
        self.woken.clear()
        numbers = dict(await connection.fetch("SELECT topic, number FROM revision"))
        for topic in self.handlers:
            number = numbers.get(topic, 0)
            if self.seen.get(topic) != number and await self._handled(topic):
                self.seen[topic] = number

    async def pause(self) -> None:
        """Wait for a notice, but no longer than :data:`POLL_SECONDS`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await self.woken.wait()

    async def _handled(self, topic: str) -> bool:
        try:
            await self.handlers[topic]()
        except Exception as error:
            if topic not in self.failing:
                # Without the text of the exception, which may quote anything.
                log.error("reload_failed", topic=topic, error=type(error).__name__)  # noqa: TRY400
            self.failing.add(topic)
            return False
        self.failing.discard(topic)
        return True
