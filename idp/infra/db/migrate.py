"""Brings the tables of a database up to date.

The migrations are Piccolo's, and so is the table in which it records them; only running them is
ours: all that are pending in one transaction, under a lock, so that replicas may start together.
A migration may name ``INDEXES`` of large tables, by name with what follows it in CREATE INDEX: they
are built before it, without blocking those who write.
"""

import asyncio
import contextlib
import importlib
import io
import os
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import ModuleType

import asyncpg
import msgspec

from idp.infra.db.engine import engine, execute, fetch, fetchrow, long_transaction
from idp.infra.db.outages import DatabaseUnavailableError

MIN_VERSION = 15
#: How long a migration waits for a table that is in use before it gives up, so that the requests
#: that queue behind it do not wait longer either.
LOCK_TIMEOUT_SECONDS = 5
#: How often the lock is tried while another process migrates.
LOCK_POLL_SECONDS = 0.2
#: The advisory lock that whoever migrates holds: the letters of our name.
ADVISORY_LOCK = int.from_bytes(b"idp")

_FOLDER = Path(__file__).parent / "migrations"
_APP = "idp"

# $1 names of our tables
_CONSTANT_DEFAULTS = """
SELECT format('ALTER TABLE %I ALTER COLUMN %I DROP DEFAULT', table_name, column_name) AS statement
FROM information_schema.columns
WHERE table_schema = current_schema() AND table_name = ANY($1)
  AND data_type = 'uuid' AND column_default LIKE '%::uuid'
"""


class MigrationFailedError(Exception):
    """A migration was not applied, and changed nothing: one plain sentence."""


class Migration(msgspec.Struct, frozen=True):
    """One migration. ``applied_at`` is None while it is pending."""

    id: str
    name: str
    applied_at: datetime | None = None


@cache
def _shipped() -> dict[str, str]:
    """The module name of every migration by its id, in their order.

    The files are read and not imported: Piccolo's migration machinery takes long to import, and is
    not needed where nothing is pending.
    """
    found = {}
    for path in _FOLDER.glob("*.py"):
        if match := re.search(r'^ID = "(.+)"$', path.read_text(encoding="utf-8"), re.MULTILINE):
            found[match[1]] = path.stem
    return dict(sorted(found.items()))


async def _applied() -> dict[str, datetime]:
    exists = await fetchrow("SELECT to_regclass('migration') IS NOT NULL AS yes")
    if exists is None or not exists["yes"]:
        return {}
    rows = await fetch("SELECT name, ran_on FROM migration WHERE app_name = $1", _APP)
    # Piccolo's column has no time zone; we write UTC.
    return {row["name"]: row["ran_on"].replace(tzinfo=UTC) for row in rows}


async def status() -> list[Migration]:
    """Every migration that this release ships, oldest first."""
    applied = await _applied()
    return [Migration(key, name, applied.get(key)) for key, name in _shipped().items()]


async def pending() -> list[str]:
    """The ids of the migrations that are not applied yet, oldest first."""
    applied = await _applied()
    return [key for key in _shipped() if key not in applied]


async def check_version() -> None:
    """Refuse a PostgreSQL that is too old.

    Raises:
        DatabaseUnavailableError: it is.
    """
    row = await fetchrow("SELECT current_setting('server_version_num')::int / 10000 AS major")
    found = row["major"] if row else 0
    if found < MIN_VERSION:
        raise DatabaseUnavailableError(f"PostgreSQL {MIN_VERSION} or later is needed; this one is {found}.")


async def upgrade() -> list[str]:
    """Apply what is pending and return the ids. Whoever comes second waits and finds nothing to do.

    All is one transaction, which begins anew before each migration that builds indexes on tables that may be large:
    those are built before it, outside of transactions, while others write.

    Raises:
        MigrationFailedError: PostgreSQL refused, or a table was in use for too long.
    """
    if not await pending():
        return []
    try:
        async with _alone():
            found, together = await pending(), list[str]()
            for key in found:
                if indexes := getattr(_module(key), "INDEXES", None):
                    await _apply(together)
                    await _build(indexes)
                    together = []
                together.append(key)
            await _apply(together)
            return found
    except asyncpg.LockNotAvailableError as error:
        raise MigrationFailedError("A table is in use, so a migration changed nothing. Try again.") from error
    except asyncpg.PostgresError as error:
        raise MigrationFailedError(f"The migration that failed changed nothing. PostgreSQL says: {error}.") from error


@contextlib.asynccontextmanager
async def _alone() -> AsyncIterator[None]:
    """Hold the lock that lets one process migrate at a time.

    It is asked for again and again, each time in another transaction: an index that is built concurrently waits for
    every transaction with a snapshot, as one that waits for a lock has.
    """
    connection = await engine.get_new_connection()
    try:
        while True:
            transaction = connection.transaction(isolation="read_committed")
            await transaction.start()
            (row,) = await connection.fetch(f"SELECT pg_try_advisory_xact_lock({ADVISORY_LOCK}) AS got")
            if row["got"]:
                break
            await transaction.rollback()
            await asyncio.sleep(LOCK_POLL_SECONDS)
        # Being another statement, it also gives up the snapshot of the one before.
        await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        yield
    finally:
        # The lock ends with it.
        await connection.close()


async def _build(indexes: dict[str, str]) -> None:
    """Build indexes while others write. What an attempt before left of one is dropped."""
    connection = await engine.get_new_connection()
    try:
        for name, definition in indexes.items():
            await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            await connection.execute(f"CREATE INDEX CONCURRENTLY {name} {definition}")
    finally:
        await connection.close()


async def _apply(keys: list[str]) -> None:
    """Apply migrations in one transaction, on a connection of its own: the pool's end a statement that takes long."""
    if not keys:
        return
    async with long_transaction():
        await execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'")
        for key in keys:
            await _apply_one(key)
        await _drop_constant_defaults()


def _module(key: str) -> ModuleType:
    # Piccolo's migrations look their engine up in this module.
    os.environ["PICCOLO_CONF"] = "idp.piccolo_conf"
    return importlib.import_module(f"idp.infra.db.migrations.{_shipped()[key]}")


async def _apply_one(key: str) -> None:
    module = _module(key)
    from piccolo.apps.migrations.tables import Migration as Applied

    # Piccolo prints its progress; what there is to say, the caller says.
    with contextlib.redirect_stdout(io.StringIO()):
        await Applied.create_table(if_not_exists=True)
        manager = await module.forwards()
        await manager.run()
    # Not through Piccolo, which would write the time of this machine's time zone.
    await execute(
        "INSERT INTO migration (name, app_name, ran_on) VALUES ($1, $2, now() AT TIME ZONE 'UTC')",
        key,
        _APP,
    )


async def _drop_constant_defaults() -> None:
    """Take back the default that Piccolo gives a UUID column.

    It calls the Python default once, when the migration runs, and makes that value the column's
    default, so that all rows inserted without a value would get the same one.
    """
    from idp.piccolo_app import APP_CONFIG

    names = [table._meta.tablename for table in APP_CONFIG.table_classes]
    for row in await fetch(_CONSTANT_DEFAULTS, names):
        await execute(row["statement"])
