"""What each kind of migration does to a large table, measured, and the verdict."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from idp.infra.db import migrate
from idp.infra.db.engine import execute, fetchrow
from idp.rehearsal.copy import name_of
from idp.rehearsal.measure import run_pending
from idp.rehearsal.models import MeasuredMigration
from idp.rehearsal.verdict import Limits
from tests.support.isolated import isolated
from tests.support.migrations import AddMigration, migration
from tests.support.postgres import Cluster

ROWS = 100_000
#: Rows are changed within a part of the table, which is enough.
SOME = "WHERE id <= 1000"
#: The table has some 7 MB.
LIMITS = Limits(large_bytes=4_000_000)
#: Longer than the limit of a lock.
SLEEP = "SELECT pg_sleep(2.1)"


@pytest.fixture(scope="module")
async def large(cluster: Cluster, template: str) -> str:
    """The name of a database with a large table and a small one."""
    dsn = await cluster.create_database(template)
    async with isolated(dsn, migrated=False):
        await execute("CREATE TABLE large (id int PRIMARY KEY, name text, parent int)")
        await execute(f"INSERT INTO large SELECT n, 'name ' || n, 1 FROM generate_series(1, {ROWS}) AS n")
        await execute("CREATE TABLE small (id int PRIMARY KEY, name text)")
        await execute("INSERT INTO small SELECT n, 'name' FROM generate_series(1, 10) AS n")
        await execute("ANALYZE large, small")
    return name_of(dsn)


@pytest.fixture
async def copy(cluster: Cluster, large: str) -> AsyncIterator[str]:
    async with isolated(await cluster.create_database(large), migrated=False) as dsn:
        yield dsn


async def run(*, limits: Limits = LIMITS) -> list[MeasuredMigration]:
    return await run_pending(limits, lambda _: None)


#: The statements of a migration and the reasons against it. "outside": not in a transaction.
CASES: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "a column": (("ALTER TABLE large ADD COLUMN colour text",), set()),
    "a column with a constant": (("ALTER TABLE large ADD COLUMN colour text NOT NULL DEFAULT 'red'",), set()),
    "a new table with an index": (("CREATE TABLE fresh (name text)", "CREATE INDEX fresh_name ON fresh (name)"), set()),
    "a rewrite of a small table": (("ALTER TABLE small ALTER COLUMN id TYPE bigint",), set()),
    "a rewrite": (("ALTER TABLE large ALTER COLUMN parent TYPE bigint",), {"rewrite"}),
    "a column with a volatile default": (
        ("ALTER TABLE large ADD COLUMN token text DEFAULT md5(random()::text)",),
        {"rewrite"},
    ),
    "an index": (("CREATE INDEX large_name ON large (name)",), {"index"}),
    "a unique constraint": (("ALTER TABLE large ADD CONSTRAINT large_name UNIQUE (name)",), {"index"}),
    "not null": (("ALTER TABLE large ALTER COLUMN name SET NOT NULL",), {"scan"}),
    "a check": (("ALTER TABLE large ADD CONSTRAINT named CHECK (name <> '')",), {"scan"}),
    "a foreign key": (("ALTER TABLE large ADD FOREIGN KEY (parent) REFERENCES small (id)",), {"scan"}),
    "a check that is not valid yet": (("ALTER TABLE large ADD CONSTRAINT named CHECK (name <> '') NOT VALID",), set()),
    "a slow data migration under a lock": (("ALTER TABLE small ADD COLUMN colour text", SLEEP), {"lock"}),
    "writers wait": (("LOCK TABLE small IN SHARE ROW EXCLUSIVE MODE", SLEEP), {"lock"}),
    "rows that stay locked": ((f"UPDATE large SET name = '' {SOME}", SLEEP), {"rows"}),
    "slow, and blocks nobody": ((SLEEP,), set()),
    "a statement that fails": (("SELECT 1 / 0",), {"failed"}),
    "a commit that fails": (
        (
            "ALTER TABLE small ADD COLUMN parent int REFERENCES small (id) DEFERRABLE INITIALLY DEFERRED",
            "UPDATE small SET parent = 99",
        ),
        {"failed"},
    ),
    "outside: an index that is built concurrently": (
        ("DROP INDEX CONCURRENTLY IF EXISTS large_name", "CREATE INDEX CONCURRENTLY large_name ON large (name)"),
        set(),
    ),
    "outside: a check is validated": (
        (
            "ALTER TABLE large ADD CONSTRAINT named CHECK (name <> '') NOT VALID",
            "ALTER TABLE large VALIDATE CONSTRAINT named",
        ),
        set(),
    ),
    "outside: an index": (("CREATE INDEX large_name ON large (name)",), {"index"}),
    "outside: a unique index of equal values": (
        ("CREATE UNIQUE INDEX CONCURRENTLY large_parent ON large (parent)",),
        {"failed", "invalid_index"},
    ),
    "outside: vacuum full": (("VACUUM FULL large",), {"rewrite"}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
async def test_each_kind_gets_its_verdict(copy: str, add_migration: AddMigration, case: str) -> None:
    statements, expected = CASES[case]
    key = add_migration(migration(1, *statements, transaction=not case.startswith("outside")))
    (measured,) = await run()
    assert {problem.name for problem in measured.problems} == expected, measured.problems
    assert (await migrate.pending() == [key]) == ("failed" in expected)


async def test_what_is_reported(copy: str, add_migration: AddMigration) -> None:
    """Each lock counts from the statement that took it to the end of the transaction, with the size of its table."""
    add_migration(
        migration(
            1,
            "ALTER TABLE large ADD COLUMN colour text",
            "SELECT pg_sleep(0.2)",
            f"UPDATE large SET colour = '' {SOME}",
            "ALTER TABLE small ALTER COLUMN id TYPE bigint",
        )
    )
    (measured,) = await run()
    assert (measured.in_transaction, measured.problems) == (True, [])
    add, sleep, update, rewrite = measured.statements
    ((lock,), (row_lock,)) = add.locks, update.locks
    assert (lock.table, lock.mode, row_lock.table, row_lock.mode) == (
        "large", "ACCESS EXCLUSIVE", "large", "ROW EXCLUSIVE",
    )  # fmt: skip
    assert sleep.locks == []
    assert measured.seconds >= lock.seconds >= 0.2 + row_lock.seconds
    assert sleep.seconds >= 0.2
    assert update.changed_rows == {"large": 1000}
    assert (add.rewritten, rewrite.rewritten) == ([], ["small"])
    assert measured.tables["large"].rows == ROWS
    row = await fetchrow("SELECT pg_table_size('small') + pg_relation_size('small_pkey') AS bytes")
    assert row is not None
    assert 0 < measured.new_bytes <= row["bytes"]
    assert measured.wal_bytes > 1000


async def test_the_first_failure_is_the_last(copy: str, add_migration: AddMigration) -> None:
    """What follows would fail too."""
    add_migration(migration(1, "ALTER TABLE small ADD COLUMN colour text"))
    add_migration(migration(2, "SELECT 1 / 0"))
    add_migration(migration(3, "ALTER TABLE small ADD COLUMN shape text"))
    first, second = await run()
    assert (first.problems, len(second.problems)) == ([], 1)
    assert second.statements[0].failure == "division by zero"
    assert len(await migrate.pending()) == 2


async def test_the_limits_can_be_changed(copy: str, add_migration: AddMigration) -> None:
    add_migration(migration(1, "ALTER TABLE large ALTER COLUMN parent TYPE bigint"))
    (measured,) = await run(limits=Limits(large_bytes=10**12, lock_seconds=3600))
    assert measured.problems == []


async def test_it_is_the_same_as_an_upgrade(cluster: Cluster, template: str, tmp_path: Path) -> None:
    """From an empty database, the first schema included."""
    described = []
    for upgrade in (migrate.upgrade, run):
        async with isolated(await cluster.create_database(template=None), migrated=False):
            await upgrade()
            assert await migrate.pending() == []
            row = await fetchrow(
                "SELECT string_agg(table_name || column_name || data_type, ',' ORDER BY table_name, column_name) AS all"
                " FROM information_schema.columns WHERE table_schema = 'public'"
            )
            described.append(row and row["all"])
    assert described[0] == described[1]
