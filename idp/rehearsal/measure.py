"""Runs the pending migrations on a copy and measures each statement.

Locks are read from the transaction itself, after each statement: PostgreSQL keeps them until its end. A statement
outside of transactions runs in one of its own, which is the same, except for those that PostgreSQL refuses there, such
as CREATE INDEX CONCURRENTLY: their locks are not read.
"""

import time
from collections.abc import Callable
from typing import Any

import asyncpg
import msgspec

from idp.infra.db import migrate
from idp.infra.db.connections import HeldConnection
from idp.infra.db.engine import engine, statements_on
from idp.rehearsal import repository
from idp.rehearsal.models import MeasuredMigration, Problem, Statement, TableLock, TableSize
from idp.rehearsal.repository import Relation, Work
from idp.rehearsal.verdict import MODES, Limits, problems

#: Characters of a statement that are reported.
TEXT_LENGTH = 200

#: The mode of ``pg_locks`` for each as it is written in statements.
_MODES = {f"{mode.title().replace(' ', '')}Lock": mode for mode in MODES}


class _State(msgspec.Struct):
    """What the catalogue and the transaction know at one moment, by the oid of a table or index."""

    relations: dict[int, Relation]
    locks: set[tuple[int, str]]
    work: dict[int, Work]


class _Recorder:
    """Stands for the connection on which Piccolo runs the statements of one migration.

    Attributes:
        taken: when each statement began that took locks, with the statement and its tables and modes.
    """

    def __init__(self, connection: Any, migration: MeasuredMigration, before: dict[int, Relation]) -> None:
        self.connection, self.migration, self.before = connection, migration, before
        self.taken: list[tuple[float, Statement, dict[str, str]]] = []
        self._spent = 0.0

    def now(self) -> float:
        """Return a time in seconds that stands still while this class asks the catalogue."""
        return time.perf_counter() - self._spent

    async def fetch(self, query: str, *arguments: Any) -> Any:
        """Run a statement, as Piccolo expects it of a connection."""
        statement = Statement(text=" ".join(query.split())[:TEXT_LENGTH])
        self.migration.statements.append(statement)
        try:
            if self.migration.in_transaction:
                return await self._measured(statement, query, *arguments)
            try:
                async with self.connection.transaction():
                    result = await self._measured(statement, query, *arguments)
            except asyncpg.ActiveSQLTransactionError:
                return await self._outside(statement, query)
        except asyncpg.PostgresError as error:
            statement.failure = str(error).partition("\n")[0]
            raise
        self.release()
        return result

    async def _measured(self, statement: Statement, query: str, *arguments: Any) -> Any:
        before, began = await self._state(), self.now()
        result = await self.connection.fetch(query, *arguments)
        statement.seconds = self.now() - began
        after = await self._state()
        locks: dict[str, str] = {}
        for oid, mode in sorted(after.locks - before.locks, key=lambda lock: MODES.index(lock[1])):
            if (relation := self.before.get(oid)) is not None and relation.kind != "i":
                locks[relation.name] = mode
        self.taken.append((began, statement, locks))
        self._compare(statement, before, after)
        return result

    async def _outside(self, statement: Statement, query: str) -> list[Any]:
        before, began = await self._state(), self.now()
        await self.connection.execute(query)
        statement.seconds = self.now() - began
        self._compare(statement, before, await self._state(), concurrently=True)
        return []

    def _compare(self, statement: Statement, before: _State, after: _State, *, concurrently: bool = False) -> None:
        tables = {oid: relation for oid, relation in self.before.items() if relation.kind != "i"}
        for oid, relation in after.relations.items():
            old = before.relations.get(oid)
            if oid in tables and old is not None and old.file != relation.file:
                statement.rewritten.append(relation.name)
            if old is None and relation.indexed in tables and relation.file and not concurrently:
                statement.indexed.append(tables[relation.indexed].name)
        for oid, work in after.work.items():
            known = before.work.get(oid, Work())
            if oid in tables and work.scans > known.scans:
                statement.scanned.append(tables[oid].name)
            if oid in tables and work.changed > known.changed:
                statement.changed_rows[tables[oid].name] = work.changed - known.changed

    async def _state(self) -> _State:
        began = time.perf_counter()
        state = _State(
            await repository.relations(self.connection),
            {(oid, _MODES[mode]) for oid, mode in await repository.locks(self.connection)},
            await repository.work(self.connection),
        )
        self._spent += time.perf_counter() - began
        return state

    def release(self) -> None:
        """Note that the locks were released: their transaction has ended."""
        now = self.now()
        for began, statement, locks in self.taken:
            statement.locks = [TableLock(table, mode, now - began) for table, mode in locks.items()]
        self.taken.clear()


async def run_pending(limits: Limits, began: Callable[[str], None]) -> list[MeasuredMigration]:
    """Run the pending migrations on the database of the engine, up to the first that fails.

    Args:
        began: is called with the name of each migration.
    """
    names = {migration.id: migration.name for migration in await migrate.status()}
    measured = []
    for key in await migrate.pending():
        began(names[key])
        migration = await _run(key, names[key])
        migration.problems += problems(migration, limits)
        measured.append(migration)
        if any(statement.failure for statement in migration.statements):
            break
    return measured


async def _run(key: str, name: str) -> MeasuredMigration:
    manager = await migrate.load(name)
    measured = MeasuredMigration(key, name, manager.wrap_in_transaction)
    connection = await engine.get_new_connection()
    try:
        before = await repository.relations(connection)
        measured.tables = _sizes(before)
        invalid, wal = await repository.invalid_indexes(connection), await repository.wal_position(connection)
        recorder = _Recorder(connection, measured, before)
        began = recorder.now()
        try:
            await _apply(connection, recorder, manager, key)
        except asyncpg.PostgresError as error:
            if not any(statement.failure for statement in measured.statements):
                # Such as a constraint that is checked at the commit.
                measured.statements.append(Statement(text="COMMIT", failure=str(error).partition("\n")[0]))
        measured.seconds = recorder.now() - began
        measured.wal_bytes = await repository.wal_position(connection) - wal
        for index in await repository.invalid_indexes(connection) - invalid:
            text = f"It leaves the index {index} behind, which is not valid."
            measured.problems.append(Problem("invalid_index", text, "Drop it, and find out why it could not be built."))
    finally:
        await connection.close()
    return measured


async def _apply(connection: Any, recorder: _Recorder, manager: Any, key: str) -> None:
    """Run one migration and record it, as :mod:`idp.infra.db.migrate` does."""
    measured = recorder.migration
    if not manager.wrap_in_transaction:
        with statements_on(HeldConnection(recorder)):
            await migrate.run(manager)
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(f"SET LOCAL lock_timeout = '{migrate.LOCK_TIMEOUT_SECONDS}s'")
        if manager.wrap_in_transaction:
            with statements_on(HeldConnection(recorder)):
                await migrate.run(manager)
        with statements_on(HeldConnection(connection)):
            await migrate.record(key)
        files = {relation.file for relation in recorder.before.values()}
        after = (await repository.relations(connection)).values()
        measured.new_bytes = sum(relation.bytes for relation in after if relation.file not in files)
    except BaseException:
        recorder.release()
        await transaction.rollback()
        raise
    await transaction.commit()
    recorder.release()


def _sizes(relations: dict[int, Relation]) -> dict[str, TableSize]:
    """Return the size of each table with its indexes."""
    indexes: dict[int, int] = {}
    for relation in relations.values():
        if relation.indexed is not None:
            indexes[relation.indexed] = indexes.get(relation.indexed, 0) + relation.bytes
    return {
        relation.name: TableSize(relation.rows, relation.bytes + indexes.get(oid, 0))
        for oid, relation in relations.items()
        if relation.indexed is None
    }
