"""Applies migrations.

The migrations are Piccolo's, and so is the table that records them, so ``piccolo migrations forwards idp`` works too.
:func:`upgrade` adds a lock, so that replicas may start together, and a limit on how long a migration waits for a table.

A migration that blocks the writers of a table for too long is stopped (:mod:`idp.infra.db.blocking`).

Each migration is one transaction. A migration whose ``MigrationManager`` has ``wrap_in_transaction=False`` runs outside
of transactions, statement by statement, for ``CREATE INDEX CONCURRENTLY``. docs/migrations.md says how to write them.
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
from typing import TYPE_CHECKING

import asyncpg
import msgspec

from idp.errors import OperatorError
from idp.infra.db import blocking
from idp.infra.db.engine import engine, execute, fetch, fetchrow, long_transaction, outside_transactions
from idp.infra.db.outages import DatabaseUnavailableError

if TYPE_CHECKING:
    # Slow to import, and not needed if nothing is pending.
    from piccolo.apps.migrations.auto.migration_manager import MigrationManager

MIN_VERSION = 15
#: Maximum wait of a migration for a table that is in use. Requests queue behind it, so they wait no longer either.
LOCK_TIMEOUT_SECONDS = 5
#: Interval between attempts to get the lock while another process migrates.
LOCK_POLL_SECONDS = 0.2
#: Key of the advisory lock of a migration: the letters of "idp".
ADVISORY_LOCK = int.from_bytes(b"idp")

_FOLDER = Path(__file__).parent / "migrations"
_APP = "idp"


class MigrationFailedError(OperatorError):
    """A migration was not applied. The message is one sentence."""


class UnknownMigrationError(OperatorError):
    """The database was created by another version of idp, whose migrations this one does not have."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"This database was created by another version of idp: its migration {key} is not part of this one. "
            "It cannot be upgraded. Use that version, or a new database."
        )


class Migration(msgspec.Struct, frozen=True):
    """One migration. ``applied_at`` is None while it is pending."""

    id: str
    name: str
    applied_at: datetime | None = None


@cache
def _shipped() -> dict[str, str]:
    """Return the module name of every migration by its id, in order.

    The files are read and not imported: Piccolo's migration code is slow to import, and not needed if nothing is
    pending.
    """
    found = {}
    for path in _FOLDER.glob("*.py"):
        if match := re.search(r'^ID = "(.+)"$', path.read_text(encoding="utf-8"), re.MULTILINE):
            found[match[1]] = path.stem
    return dict(sorted(found.items()))


async def _applied() -> dict[str, datetime]:
    """Return when each migration was applied.

    Unknown migrations that are newer than ours belong to a later release, which works with this one while replicas are
    replaced. Other unknown ones mean that the tables have another history.

    Raises:
        UnknownMigrationError: the tables have another history.
    """
    exists = await fetchrow("SELECT to_regclass('migration') IS NOT NULL AS yes")
    if exists is None or not exists["yes"]:
        return {}
    rows = await fetch("SELECT name, ran_on FROM migration WHERE app_name = $1 ORDER BY name", _APP)
    for row in rows:
        if row["name"] not in _shipped() and row["name"] < max(_shipped()):
            raise UnknownMigrationError(row["name"])
    # Piccolo's column has no time zone; we write UTC.
    return {row["name"]: row["ran_on"].replace(tzinfo=UTC) for row in rows}


async def status() -> list[Migration]:
    """Return every migration of this release, oldest first."""
    applied = await _applied()
    return [Migration(key, name, applied.get(key)) for key, name in _shipped().items()]


async def pending() -> list[str]:
    """Return the ids of the pending migrations, oldest first.

    Raises:
        UnknownMigrationError: the database was created by another version of idp.
    """
    applied = await _applied()
    return [key for key in _shipped() if key not in applied]


async def check_version() -> None:
    """Refuse a PostgreSQL that is too old.

    Raises:
        DatabaseUnavailableError: it is too old.
    """
    row = await fetchrow("SELECT current_setting('server_version_num')::int / 10000 AS major")
    found = row["major"] if row else 0
    if found < MIN_VERSION:
        raise DatabaseUnavailableError(f"PostgreSQL {MIN_VERSION} or later is needed; this one is {found}.")


async def upgrade(*, any_lock: bool = False) -> list[str]:
    """Apply the pending migrations and return their ids. A second process waits, and then finds none.

    Args:
        any_lock: do not stop a migration that blocks the writers of a table for too long.

    Raises:
        MigrationFailedError: PostgreSQL refused one, a table was in use for too long, or it blocked the writers of a
            table for too long. The earlier ones stay applied.
        UnknownMigrationError: see :func:`pending`.
    """
    if not await pending():
        return []
    async with _alone():
        found = await pending()
        for key in found:
            await _apply(key, any_lock=any_lock)
        return found


@contextlib.asynccontextmanager
async def _alone() -> AsyncIterator[None]:
    """Hold the lock that lets one process migrate at a time.

    The lock is tried repeatedly, each time in a new transaction: a transaction that waits for a lock has a snapshot,
    and an index that is built concurrently waits for all transactions with a snapshot.
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
        # A separate statement, which also releases the snapshot of the previous one.
        await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        yield
    finally:
        # The lock ends with the transaction.
        await connection.close()


async def _apply(key: str, *, any_lock: bool) -> None:
    """Apply one migration and record it.

    Raises:
        MigrationFailedError: it was not recorded. What it did in a transaction is rolled back.
    """
    name = _shipped()[key]
    manager = await load(name)
    changed = "changed nothing" if manager.wrap_in_transaction else "starts from its beginning at the next attempt"
    limit = contextlib.nullcontext() if any_lock else blocking.limited()
    try:
        if not manager.wrap_in_transaction:
            async with outside_transactions(), limit:
                await run(manager)
        async with long_transaction():
            await execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'")
            if manager.wrap_in_transaction:
                async with limit:
                    await run(manager)
            await record(key)
    except blocking.BlockedTooLongError as error:
        raise MigrationFailedError(
            f"The migration {name} blocked requests on the table {error.table} for {blocking.LIMIT_SECONDS:.0f} s and"
            f" was stopped; it {changed}. See idp db rehearse. In a maintenance window: idp db upgrade --any-lock."
        ) from error
    except asyncpg.LockNotAvailableError as error:
        raise MigrationFailedError(f"A table is in use, so the migration {name} changed nothing. Try again.") from error
    except asyncpg.PostgresError as error:
        reason = str(error).partition("\n")[0]
        raise MigrationFailedError(f"The migration {name} failed and {changed}. PostgreSQL says: {reason}.") from error


async def load(name: str) -> "MigrationManager":
    """Return a migration by the name of its module."""
    # Piccolo's migrations look up their engine in this module.
    os.environ["PICCOLO_CONF"] = "idp.piccolo_conf"
    module = importlib.import_module(f"idp.infra.db.migrations.{name}")
    manager: MigrationManager = await module.forwards()
    return manager


async def run(manager: "MigrationManager") -> None:
    """Run the statements of a migration."""
    # Piccolo prints its progress; the caller reports it instead.
    with contextlib.redirect_stdout(io.StringIO()):
        await manager.run()


async def record(key: str) -> None:
    """Record that a migration was applied."""
    from piccolo.apps.migrations.tables import Migration as Applied

    await Applied.create_table(if_not_exists=True)
    # Not through Piccolo, which would write the local time of this machine.
    await execute(
        "INSERT INTO migration (name, app_name, ran_on) VALUES ($1, $2, now() AT TIME ZONE 'UTC')",
        key,
        _APP,
    )
