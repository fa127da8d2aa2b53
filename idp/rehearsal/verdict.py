"""Judges what was measured: the rules that a migration of a running system must keep."""

from collections.abc import Iterator

import msgspec

from idp.infra.db import blocking
from idp.rehearsal.models import MeasuredMigration, Problem, Statement, TableLock

#: Size with indexes, in bytes, from which a table counts as large.
LARGE_BYTES = 100_000_000

#: Lock modes by strength (PostgreSQL documentation, table 13.2).
MODES = (
    "ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
)  # fmt: skip
#: The modes that writers wait for.
BLOCKING = MODES[MODES.index("SHARE") :]


class Limits(msgspec.Struct, frozen=True):
    """What a migration may do. ``lock_seconds`` is also the limit of the upgrade itself, which no option changes."""

    large_bytes: int = LARGE_BYTES
    lock_seconds: float = blocking.LIMIT_SECONDS


def problems(migration: MeasuredMigration, limits: Limits) -> list[Problem]:
    """Return the reasons against a migration."""
    found = [
        problem
        for rule in (_failed, _rewrites, _blocks, _scans, _keeps_rows_locked)
        for statement in migration.statements
        for problem in rule(migration, statement, limits)
    ]
    return list(dict.fromkeys(found))


def _size(migration: MeasuredMigration, table: str) -> str:
    size = migration.tables[table]
    return f"{table} ({bytes_in_words(size.bytes)}, {size.rows:,} rows)"


def bytes_in_words(number: int) -> str:
    """Return a number of bytes in decimal units."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} B"


def _is_large(migration: MeasuredMigration, table: str, limits: Limits) -> bool:
    return migration.tables[table].bytes >= limits.large_bytes


def _failed(_migration: MeasuredMigration, statement: Statement, _limits: Limits) -> Iterator[Problem]:
    if statement.failure:
        yield Problem("failed", f"PostgreSQL refused a statement: {statement.failure}")


def _rewrites(migration: MeasuredMigration, statement: Statement, limits: Limits) -> Iterator[Problem]:
    for table in statement.rewritten:
        if _is_large(migration, table, limits):
            yield Problem(
                "rewrite",
                f"It rewrites the large table {_size(migration, table)}.",
                "Add a new column, fill it in batches, and remove the old one in a later release.",
            )


def _blocks(_migration: MeasuredMigration, statement: Statement, limits: Limits) -> Iterator[Problem]:
    for lock in statement.locks:
        if lock.mode in BLOCKING and lock.seconds > limits.lock_seconds:
            yield Problem(
                "lock",
                f"It holds a lock on {lock.table} ({lock.mode}) for {lock.seconds:.1f} s: {_waiting(lock)}.",
                "Let slow statements not share a transaction with those that take the lock.",
            )


def _waiting(lock: TableLock) -> str:
    return "every request on the table waits" if lock.mode == "ACCESS EXCLUSIVE" else "everything that writes waits"


def _scans(migration: MeasuredMigration, statement: Statement, limits: Limits) -> Iterator[Problem]:
    """Find work on a whole table while writers wait: it takes longer with each row, and under load."""
    for table in statement.indexed:
        if _is_large(migration, table, limits):
            yield Problem(
                "index",
                f"It builds an index on the large table {_size(migration, table)} while everything that writes waits.",
                "CREATE INDEX CONCURRENTLY, outside of transactions.",
            )
    for table in set(statement.scanned) - {*statement.indexed, *statement.rewritten}:
        if _is_large(migration, table, limits) and _blocked_before(migration, statement, table):
            yield Problem(
                "scan",
                f"It reads the whole of the large table {_size(migration, table)} while everything that writes waits.",
                "Add constraints NOT VALID, and VALIDATE them in a later transaction. Before SET NOT NULL, validate a"
                " CHECK (… IS NOT NULL). Change rows in a transaction of their own.",
            )


def _blocked_before(migration: MeasuredMigration, last: Statement, table: str) -> bool:
    """Return whether writers of a table waited while a statement ran."""
    known = migration.statements[: migration.statements.index(last)] if migration.in_transaction else []
    return any(
        lock.table == table and lock.mode in BLOCKING for statement in (*known, last) for lock in statement.locks
    )


def _keeps_rows_locked(migration: MeasuredMigration, statement: Statement, limits: Limits) -> Iterator[Problem]:
    held = {lock.table: lock.seconds for lock in statement.locks}
    for table, rows in statement.changed_rows.items():
        # A table that an earlier statement has locked is judged by that lock.
        if rows and (seconds := held.get(table, 0.0)) > limits.lock_seconds:
            yield Problem(
                "rows",
                f"It changes {rows:,} rows of {_size(migration, table)} in one transaction, which keeps them locked for"
                f" up to {seconds:.1f} s.",
                "Change them in batches, in the background of a release.",
            )
