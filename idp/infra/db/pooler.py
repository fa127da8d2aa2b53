"""Detects a pooler that drops prepared statements.

In transaction mode each transaction, and each statement outside one, may go to another connection to PostgreSQL. A
prepared statement does not exist there, unless the pooler tracks prepared statements, as PgBouncer 1.21 and later do
with ``max_prepared_statements``. With few clients most statements still reach the right connection, so errors begin
under load.
"""

import secrets
from contextlib import suppress

import asyncpg

from idp.errors import OperatorError
from idp.infra.db import outages
from idp.infra.db.engine import engine
from idp.infra.db.outages import DatabaseUnavailableError
from idp.settings import settings

#: Seconds for one step. A pooler with one connection to PostgreSQL lets the second client wait.
STEP_SECONDS = 2.0


class UnsupportedPoolerError(OperatorError):
    """The pooler drops prepared statements. The message says how to configure it."""


async def check_prepared_statements() -> None:
    """Refuse a pooler that drops prepared statements.

    Raises:
        UnsupportedPoolerError: there is one, and statements are prepared.
    """
    if settings().database_prepared_statements:
        name = f"idp_{secrets.token_hex(8)}"
        first = await engine.get_new_connection()
        try:
            second = await engine.get_new_connection()
            try:
                await _provoke(first, second, name)
            finally:
                with suppress(*outages.ERRORS):
                    await second.close(timeout=STEP_SECONDS)
        except (asyncpg.DuplicatePreparedStatementError, asyncpg.InvalidSQLStatementNameError) as error:
            raise UnsupportedPoolerError(f"{outages.NOT_PREPARED.words}.") from error
        finally:
            with suppress(*outages.ERRORS):
                await first.close(timeout=STEP_SECONDS)


async def _provoke(first: asyncpg.Connection, second: asyncpg.Connection, name: str) -> None:
    """Let two clients prepare a statement with the same name. On one connection to PostgreSQL the names collide. On
    two, the first client does not find its statement while the second one holds the connection.
    """
    prepared = await first.prepare("SELECT 1", name=name, timeout=STEP_SECONDS)
    # It ends the exchange, and with it the first client's use of the connection to PostgreSQL.
    await prepared.fetch(timeout=STEP_SECONDS)
    with suppress(DatabaseUnavailableError, TimeoutError):
        async with second.transaction():
            await second.prepare("SELECT 1", name=name, timeout=STEP_SECONDS)
            await prepared.fetch(timeout=STEP_SECONDS)
