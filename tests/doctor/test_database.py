"""PostgreSQL with wrong settings, roles, limits and tables, each found and named."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from idp import clock
from idp.doctor import database, repository
from idp.doctor.models import Level, Needs
from idp.infra.db import engine, migrate
from idp.infra.db.embedded import EmbeddedPostgres
from idp.infra.db.partitions import month_of, next_month
from tests.support.examinations import named, one, run
from tests.support.isolated import MoveClock, isolated
from tests.support.pgbouncer import PgBouncer, needs_pgbouncer
from tests.support.postgres import Cluster

#: The tests' own PostgreSQL does not wait for its disk.
TESTS = ("fsync_off", Level.ERROR)
CHECKS = ("database", "connections", "pooler", "replication", "migrations", "privileges", "tables", "clock")


async def alter(dsn: str, setting: str) -> None:
    """Change a setting of one database."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(f"ALTER DATABASE {urlsplit(dsn).path[1:]} SET {setting}")
    await connection.close()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL as it is by default."""
    with EmbeddedPostgres.start(tmp_path_factory.mktemp("sound") / "data") as server:
        yield server.dsn


async def test_a_sound_database_has_no_finding(sound: str) -> None:
    async with isolated(sound, migrated=False):
        await migrate.upgrade()
        await engine.execute("SELECT 1")
        month = month_of(clock.now())
        for begin in (month, next_month(month)):
            await engine.execute(f"CREATE TABLE IF NOT EXISTS audit_event_{begin:%Y%m} (LIKE audit_event)")
            if f"audit_event_{begin:%Y%m}" not in await repository.partitions("audit_event"):
                lower, upper = _ids(begin.timestamp()), _ids(next_month(begin).timestamp())
                await engine.execute(
                    f"ALTER TABLE audit_event ATTACH PARTITION audit_event_{begin:%Y%m}"
                    f" FOR VALUES FROM ('{lower}') TO ('{upper}')"
                )
        for name in CHECKS:
            findings = await run(name)
            assert named(findings) == set()
            assert [finding.level for finding in findings] == [Level.OK], name


def _ids(seconds: float) -> str:
    return f"{int(seconds) * 1000:012x}".zfill(12) + "0" * 20


@pytest.mark.parametrize(
    ("setting", "name", "level", "mend"),
    [
        ("synchronous_commit = off", "synchronous_commit_off", Level.ERROR, "synchronous_commit = on"),
        ("default_transaction_read_only = on", "database_read_only", Level.ERROR, "target_session_attrs=read-write"),
        ("default_transaction_isolation = 'serializable'", "isolation_differs", Level.WARNING, "read committed"),
        ("statement_timeout = '500ms'", "statement_timeout_short", Level.WARNING, "5 s or more"),
        ("idle_session_timeout = '1min'", "idle_session_timeout_set", Level.WARNING, "Set it to 0"),
        ("log_statement = 'all'", "statements_logged", Level.NOTE, "ddl"),
    ],
)
async def test_settings(cluster: Cluster, template: str, setting: str, name: str, level: Level, mend: str) -> None:
    dsn = await cluster.create_database(template)
    await alter(dsn, setting)
    async with isolated(dsn, migrated=False):
        findings = await run("database", provides=Needs.DATABASE)
        assert named(findings) == {TESTS, (name, level)}
        assert mend in one(findings, name).mend


async def test_a_server_that_is_set_up_badly(tmp_path: Path) -> None:
    options = {"autovacuum": "off", "full_page_writes": "off", "fsync": "off", "max_connections": "8"}
    with EmbeddedPostgres.start(tmp_path / "data", options=options) as server:
        async with isolated(server.dsn, migrated=False):
            assert named(await run("database", provides=Needs.DATABASE)) == {
                ("autovacuum_off", Level.ERROR),
                ("full_page_writes_off", Level.ERROR),
                ("fsync_off", Level.ERROR),
            }


async def test_pools_that_are_too_large_for_postgresql(own_database: str) -> None:
    findings = await run("connections", workers=40, database_pool_size=10)
    assert named(findings) == {("pool_exceeds_connections", Level.ERROR)}
    assert "400" in one(findings, "pool_exceeds_connections").text
    assert "IDP_DATABASE_POOL_SIZE" in one(findings, "pool_exceeds_connections").mend
    assert named(await run("connections", workers=25, database_pool_size=10)) == {("connections_scarce", Level.WARNING)}


async def test_a_role_with_a_limit_of_connections(own_database: str) -> None:
    await engine.execute(f"ALTER DATABASE {urlsplit(own_database).path[1:]} CONNECTION LIMIT 15")
    assert named(await run("connections", workers=2, database_pool_size=10)) == {
        ("pool_exceeds_connections", Level.ERROR)
    }


async def test_a_transaction_that_waits_for_its_client(own_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "IDLE_SECONDS", 0.0)
    other = await asyncpg.connect(own_database)
    transaction = other.transaction()
    await transaction.start()
    await other.execute("SELECT 1")
    assert named(await run("connections")) == {("idle_in_transaction", Level.WARNING)}
    await transaction.rollback()
    await other.close()


@pytest.fixture
async def limited(cluster: Cluster, template: str) -> AsyncIterator[str]:
    """The DSN of a role that may only read a migrated database."""
    dsn = await cluster.create_database(template)
    role = f"reader_{urlsplit(dsn).path[1:]}"
    connection = await asyncpg.connect(dsn)
    await connection.execute(f"CREATE ROLE {role} LOGIN")
    await connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    parts = urlsplit(dsn)
    yield urlunsplit(parts._replace(netloc=f"{role}@"))
    await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    await connection.close()


async def test_a_role_that_may_only_read(limited: str) -> None:
    async with isolated(limited, migrated=False):
        findings = await run("privileges", provides=Needs.DATABASE)
        assert named(findings) == {("privileges_missing", Level.ERROR)}
        assert "GRANT SELECT, INSERT, UPDATE, DELETE" in one(findings, "privileges_missing").mend
        assert named(await run("database", provides=Needs.DATABASE)) == {TESTS, ("may_not_migrate", Level.ERROR)}
        assert ("may_not_migrate", Level.ERROR) not in named(
            await run("database", provides=Needs.DATABASE, migrate_on_start=False)
        )


async def test_tables_of_another_role(limited: str) -> None:
    role = urlsplit(limited).username
    superuser = limited.replace(f"{role}@", "postgres@")
    connection = await asyncpg.connect(superuser)
    await connection.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
    await connection.close()
    async with isolated(limited, migrated=False):
        assert named(await run("privileges", provides=Needs.DATABASE)) == {("tables_of_another_role", Level.WARNING)}


async def test_a_database_that_cannot_store_every_name(cluster: Cluster) -> None:
    await cluster.execute(
        "CREATE DATABASE idp_ascii ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
    )
    async with isolated(cluster.dsn("idp_ascii"), migrated=False):
        findings = await run("database", provides=Needs.DATABASE)
        assert named(findings) == {TESTS, ("encoding_not_utf8", Level.ERROR)}


async def test_a_superuser_in_production(own_database: str) -> None:
    findings = await run("database", database_url="postgresql://idp:a-password@db.example.com/idp")
    assert named(findings) == {TESTS, ("role_is_superuser", Level.NOTE)}


async def test_migrations_that_are_pending(own_database: str) -> None:
    await engine.execute("DELETE FROM migration")
    findings = await run("migrations")
    assert named(findings) == {("migrations_pending", Level.WARNING)}
    findings = await run("migrations", migrate_on_start=False)
    assert named(findings) == {("migrations_pending", Level.ERROR)}
    assert one(findings, "migrations_pending").mend == "Run: idp db upgrade"


async def test_a_schema_of_another_version(own_database: str) -> None:
    await engine.execute("INSERT INTO migration (name, app_name, ran_on) VALUES ('2000-01-01T00:00:00', 'idp', now())")
    findings = await run("migrations")
    assert named(findings) == {("schema_unknown", Level.ERROR)}
    assert "2000-01-01T00:00:00" in one(findings, "schema_unknown").text


async def test_a_replication_slot_that_nobody_reads(own_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "MUCH_WAL", -1)
    await engine.execute("SELECT pg_create_physical_replication_slot('gone', true)")
    try:
        findings = await run("replication")
        assert named(findings) == {("replication_slot_unused", Level.WARNING)}
        assert "pg_drop_replication_slot('gone')" in one(findings, "replication_slot_unused").mend
    finally:
        await engine.execute("SELECT pg_drop_replication_slot('gone')")


def test_a_slot_that_has_lost_wal_and_a_standby_that_lags() -> None:
    (lost,) = database._slot(repository.Slot("a", False, "lost", 0))
    (lagging,) = database._standby(repository.Standby("b", 90.0))
    assert [(one.name, one.level) for one in (lost, lagging)] == [
        ("replication_slot_lost", Level.ERROR),
        ("standby_lags", Level.WARNING),
    ]


async def test_a_table_that_vacuum_does_not_clean(own_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "MANY_DEAD", 50)
    connection = await asyncpg.connect(own_database)
    await connection.execute("CREATE TABLE hot (id int) WITH (autovacuum_enabled = off)")
    await connection.execute("INSERT INTO hot SELECT generate_series(1, 100)")
    await connection.execute("DELETE FROM hot")
    # The statistics of a session are written when it ends.
    await connection.close()
    async with asyncio.timeout(30):
        while ("table_bloated", Level.WARNING) not in named(await run("tables")):
            await asyncio.sleep(0.05)
    assert "hot has 100 dead rows" in one(await run("tables"), "table_bloated").text


async def test_a_queue_that_was_not_emptied(own_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "LARGE_QUEUE", 0)
    assert {("queue_large", Level.WARNING)} <= named(await run("tables"))


async def test_a_missing_partition(own_database: str) -> None:
    name = f"audit_event_{next_month(month_of(clock.now())):%Y%m}"
    await engine.execute(f"DROP TABLE IF EXISTS {name}")
    findings = await run("tables")
    assert named(findings) == {("partition_missing", Level.WARNING)}
    assert name in one(findings, "partition_missing").text


@pytest.mark.parametrize(("seconds", "level"), [(10, Level.WARNING), (-10, Level.WARNING), (120, Level.ERROR)])
async def test_a_clock_that_differs(own_database: str, move_clock: MoveClock, seconds: float, level: Level) -> None:
    move_clock(seconds)
    findings = await run("clock")
    assert named(findings) == {("clock_differs_from_database", level)}
    assert ("ahead of" if seconds > 0 else "behind") in one(findings, "clock_differs_from_database").text


@needs_pgbouncer
async def test_a_pooler_that_drops_prepared_statements(db: str, tmp_path: Path) -> None:
    pooler = PgBouncer(tmp_path / "pgbouncer", db, pool_size=1)
    try:
        async with isolated(pooler.dsn, migrated=False):
            findings = await run("pooler", provides=Needs.DATABASE)
            assert named(findings) == {("pooler_drops_statements", Level.ERROR)}
    finally:
        pooler.stop()


@needs_pgbouncer
async def test_a_pooler_shares_the_connections(db: str, tmp_path: Path) -> None:
    pooler = PgBouncer(tmp_path / "pgbouncer", db, pool_size=2)
    try:
        async with isolated(pooler.dsn, migrated=False):
            assert named(await run("connections", provides=Needs.DATABASE, workers=99)) == set()
    finally:
        pooler.stop()


async def test_a_check_that_loses_the_database(own_database: str) -> None:
    await engine.close_pool()
    findings = await run("tables")
    assert named(findings) == {("check_lost_database", Level.ERROR)}
