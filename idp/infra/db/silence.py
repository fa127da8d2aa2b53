"""Stops waiting for a PostgreSQL that does not answer (docs/decisions/0095-which-postgresql-is-used.md).

A server that hangs, and a network that drops packets, refuse nothing: each statement would wait for its time limit, and
each new connection too. When the poll of :mod:`idp.infra.db.cache_invalidation` gets no answer, a new connection is
tried. If that gets none either, all statements that wait fail, and further ones fail at once, until a connection is
answered. A statement that is slow, or waits for a lock, does not count as silence.
"""

import asyncio

import structlog

from idp.infra.db import outages
from idp.infra.db.engine import engine, lines
from idp.infra.db.outages import DatabaseUnavailableError

log = structlog.get_logger()

#: Seconds within which a new connection must be answered.
PROBE_SECONDS = 3.0


async def probe() -> None:
    """Find out by a new connection whether PostgreSQL answers.

    An error counts as an answer: statements that get it do not wait.

    Raises:
        DatabaseUnavailableError: it does not answer.
    """
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            connection = await engine.get_new_connection()
            try:
                # A pooler accepts connections without PostgreSQL. This is one message, which needs no transaction.
                await connection.execute("SELECT 1")
            finally:
                connection.terminate()
    except outages.ERRORS as error:
        if isinstance(error, TimeoutError) or isinstance(error.__cause__, TimeoutError):
            if not lines().silent:
                log.error("database_silent")  # noqa: TRY400 -- the error is known
            await lines().silence()
            raise DatabaseUnavailableError("PostgreSQL does not answer.") from error
    if lines().silent:
        log.info("database_answers")
    lines().silent = False
