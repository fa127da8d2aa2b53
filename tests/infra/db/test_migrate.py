"""Applying migrations, by one or several processes."""

import asyncio
import os
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from idp.accounts.tables import User
from idp.accounts.users import create_user
from idp.audit.tables import AuditEvent
from idp.infra.db import migrate
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.outages import DatabaseUnavailableError
from idp.oauth.clients.models import ResourceServer
from idp.oauth.clients.repository import columns
from idp.oauth.clients.tables import ResourceServerRow
from idp.piccolo_app import APP_CONFIG
from idp.settings import settings
from tests.support.isolated import isolated
from tests.support.migrations import AddMigration, migration
from tests.support.pgbouncer import PgBouncer, needs_pgbouncer
from tests.support.postgres import Cluster

TABLES = {table._meta.tablename for table in APP_CONFIG.table_classes}


async def tables() -> set[str]:
    """The tables, without partitions."""
    rows = await fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')"
        " AND NOT relispartition"
    )
    return {row["relname"] for row in rows}


async def test_an_empty_database_gets_every_table(empty_database: str) -> None:
    ids = await migrate.pending()
    assert ids
    assert ids == sorted(ids)
    assert await migrate.upgrade() == ids
    assert await tables() == TABLES | {"migration"}
    assert await migrate.pending() == []
    assert await migrate.upgrade() == []


async def test_the_status_tells_when(empty_database: str) -> None:
    assert all(each.applied_at is None for each in await migrate.status())
    await migrate.upgrade()
    row = await fetchrow("SELECT now() AS now")
    assert row
    for each in await migrate.status():
        assert each.applied_at is not None
        assert 0 <= (row["now"] - each.applied_at).total_seconds() < 60
        assert each.name.startswith("m0")


async def test_no_lock_without_pending_migrations(own_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every start calls it."""
    monkeypatch.delattr(migrate, "_alone")
    assert await migrate.upgrade() == []


def _installed(folder: Path, code: str, dsn: str) -> subprocess.Popen[str]:
    """Run Python with the installed package only, as from a wheel."""
    with suppress(FileExistsError):
        (folder / "idp").symlink_to(Path(__file__).parents[3] / "idp")
    return subprocess.Popen(
        [sys.executable, "-c", code, dsn],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        # The variable of another project must not make us use the database of that project.
        env=os.environ | {"PYTHONPATH": str(folder), "PICCOLO_CONF": "another_project.piccolo_conf"},
    )


UPGRADE = """
import asyncio, sys
from idp.infra.db import engine, migrate
async def main():
    engine.configure(sys.argv[1])
    async with engine.connected():
        print(*await migrate.upgrade())
asyncio.run(main())
"""


async def test_replicas_may_start_together(empty_database: str, tmp_path: Path) -> None:
    expected = " ".join(await migrate.pending())
    replicas = [_installed(tmp_path, UPGRADE, empty_database) for _ in range(5)]
    results = await asyncio.gather(*(asyncio.to_thread(r.communicate, timeout=60) for r in replicas))
    assert [replica.returncode for replica in replicas] == [0] * 5, results
    assert sorted(output.strip() for output, _ in results) == [""] * 4 + [expected]
    assert [errors for _, errors in results] == [""] * 5
    assert await tables() == TABLES | {"migration"}


async def test_a_serving_worker_does_not_pay_for_migrations(own_database: str, tmp_path: Path) -> None:
    code = UPGRADE + "assert not {'black', 'piccolo.conf.apps'} & sys.modules.keys(), 'imported'\n"
    process = _installed(tmp_path, code, own_database)
    _, errors = await asyncio.to_thread(process.communicate, timeout=60)
    assert (process.returncode, errors) == (0, "")


async def test_a_failing_migration_changes_nothing(empty_database: str) -> None:
    await execute("CREATE TABLE users (id int)")
    with pytest.raises(migrate.MigrationFailedError, match='"users" already exists'):
        await migrate.upgrade()
    assert await tables() == {"users"}
    await execute("DROP TABLE users")
    assert await migrate.upgrade()


def concurrent(then: str = "SELECT 1", kind: str = "INDEX") -> str:
    """A migration outside of transactions."""
    return migration(
        1,
        "DROP INDEX CONCURRENTLY IF EXISTS mail_by_template",
        f"CREATE {kind} CONCURRENTLY mail_by_template ON mail (template)",
        then,
        transaction=False,
    )


def ordinary(value: str) -> str:
    """A migration that is a transaction."""
    return migration(2, "CREATE TABLE colour (name text PRIMARY KEY)", f"INSERT INTO colour VALUES ({value})")


async def invalid_indexes() -> list[str]:
    rows = await fetch("SELECT indexrelid::regclass::text AS name FROM pg_index WHERE NOT indisvalid")
    return [row["name"] for row in rows]


@pytest.mark.fault(45)
async def test_indexes_of_large_tables_are_built_while_others_write(
    own_database: str, add_migration: AddMigration
) -> None:
    """The build waits for a transaction that has written, and writers do not wait for the build."""
    ids = [add_migration(concurrent()), add_migration(ordinary("'red'"))]
    # The remains of an interrupted attempt.
    await execute("CREATE INDEX mail_by_template ON mail (id)")
    write = (
        "INSERT INTO mail (id, recipient, template, state, response, expires_at)"
        " VALUES (gen_random_uuid(), 'a@example.com', 'test', 'queued', '', now())"
    )
    early, late = await asyncpg.connect(own_database), await asyncpg.connect(own_database)
    try:
        upgrading = None
        async with early.transaction():
            await early.execute(write)
            upgrading = asyncio.create_task(migrate.upgrade())
            async with asyncio.timeout(30):
                while not await late.fetchval(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND query ~ '^(DROP|CREATE) INDEX CONCURRENTLY' AND wait_event_type = 'Lock'"
                ):
                    assert not upgrading.done(), upgrading.exception()
                    await asyncio.sleep(0.01)
            await late.execute("SET lock_timeout = '10s'")
            await late.execute(write)
        assert await asyncio.wait_for(upgrading, 60) == ids
    finally:
        await early.close()
        await late.close()
    assert await invalid_indexes() == []
    row = await fetchrow("SELECT indexdef FROM pg_indexes WHERE indexname = 'mail_by_template'")
    assert row is not None
    assert "(template)" in row["indexdef"]
    assert await migrate.pending() == []


@pytest.mark.fault(45)
async def test_outside_of_transactions_an_attempt_that_failed_starts_again(
    own_database: str, add_migration: AddMigration
) -> None:
    """The index of the first attempt is invalid, which does not block the next one."""
    for _ in range(2):
        await execute(
            "INSERT INTO mail (id, recipient, template, state, response, expires_at)"
            " VALUES (gen_random_uuid(), 'a@example.com', 'test', 'queued', '', now())"
        )
    key = add_migration(concurrent(kind="UNIQUE INDEX"))
    with pytest.raises(migrate.MigrationFailedError, match="starts from its beginning at the next attempt"):
        await migrate.upgrade()
    assert await invalid_indexes() == ["mail_by_template"]
    assert await migrate.pending() == [key]
    add_migration(concurrent("SELECT 1 / 0"))
    with pytest.raises(migrate.MigrationFailedError, match="division by zero"):
        await migrate.upgrade()
    assert await migrate.pending() == [key]
    add_migration(concurrent())
    assert await migrate.upgrade() == [key]
    assert await invalid_indexes() == []


async def test_in_a_transaction_an_attempt_that_failed_changed_nothing(
    own_database: str, add_migration: AddMigration
) -> None:
    """Earlier migrations stay applied."""
    first, second = add_migration(concurrent()), add_migration(ordinary("1 / 0"))
    with pytest.raises(migrate.MigrationFailedError, match=r"changed nothing\..*: division by zero\.$"):
        await migrate.upgrade()
    assert "colour" not in await tables()
    assert await migrate.pending() == [second]
    assert [found.id for found in await migrate.status() if found.applied_at is not None][-1] == first


@needs_pgbouncer
async def test_behind_a_pooler_that_drops_prepared_statements(
    cluster: Cluster, template: str, tmp_path: Path, add_migration: AddMigration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both kinds: the first schema in a transaction, and an index outside."""
    monkeypatch.setenv("IDP_DATABASE_PREPARED_STATEMENTS", "false")
    settings.cache_clear()
    pooler = PgBouncer(tmp_path / "pgbouncer", await cluster.create_database(template=None))
    try:
        async with isolated(pooler.dsn, migrated=False):
            add_migration(concurrent())
            assert len(await migrate.upgrade()) == 2
            assert await invalid_indexes() == []
            assert await migrate.pending() == []
    finally:
        pooler.stop()
        monkeypatch.undo()
        settings.cache_clear()


async def test_a_database_of_another_version_is_refused(own_database: str) -> None:
    """Its tables have another history, as those that were made before the first release."""
    await execute("INSERT INTO migration (name, app_name, ran_on) VALUES ('2026-11-23T05:25:37:201635', 'idp', now())")
    for call in (migrate.pending, migrate.upgrade, migrate.status):
        with pytest.raises(migrate.UnknownMigrationError, match="2026-11-23T05:25:37:201635 is not part of this one"):
            await call()


async def test_a_database_of_a_later_release_is_not(own_database: str) -> None:
    """While replicas are replaced one by one, one of the release before may start."""
    await execute("INSERT INTO migration (name, app_name, ran_on) VALUES ('9999-01-01T00:00', 'idp', now())")
    assert await migrate.pending() == []


async def test_piccolo_s_own_command_makes_the_same(cluster: Cluster, template: str, tmp_path: Path) -> None:
    """`piccolo migrations forwards idp`."""
    dsn = await cluster.create_database(template=None)
    await asyncio.to_thread(
        subprocess.run,
        [Path(sys.executable).parent / "piccolo", "migrations", "forwards", "idp"],
        env=os.environ | {"PICCOLO_CONF": "idp.piccolo_conf", "IDP_DATABASE_URL": dsn},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        timeout=60,
    )
    async with isolated(dsn, migrated=False):
        assert await migrate.pending() == []
        assert await tables() == TABLES | {"migration"}


async def test_a_table_in_use_is_not_waited_for_long(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "LOCK_TIMEOUT_SECONDS", 0.2)
    blocker = await asyncpg.connect(empty_database)
    try:
        async with blocker.transaction():
            # It is not known yet whether there will be a table of this name.
            await blocker.execute("CREATE TABLE users (id int)")
            with pytest.raises(migrate.MigrationFailedError, match="in use"):
                await migrate.upgrade()
            await blocker.execute("DROP TABLE users")
    finally:
        await blocker.close()
    assert await tables() == set()


async def test_an_old_postgresql_is_refused(own_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await migrate.check_version()
    monkeypatch.setattr(migrate, "MIN_VERSION", 99)
    with pytest.raises(DatabaseUnavailableError, match="PostgreSQL 99 or later is needed; this one is 1"):
        await migrate.check_version()


async def test_json_and_arrays_round_trip(own_database: str) -> None:
    address = {"formatted": 'Zoë "Street"', "country": None}
    user = await create_user("a@example.com", None)
    await User.update({User.address: address}).where(User.id == user.id)
    again = await User.objects().output(load_json=True).where(User.id == user.id).first()
    assert again is not None
    assert again.to_dict()["address"] == address
    event = {"event": "test", "outcome": "success", "actor": "", "ip_address": "", "request_id": ""}
    await AuditEvent(at=datetime.now(UTC), detail={}, **event).save()
    row = await fetchrow("SELECT detail, jsonb_typeof(detail) AS kind FROM audit_event")
    assert row is not None
    assert (row["detail"], row["kind"]) == ("{}", "object")
    uris = ["https://a.example/cb", 'x:"{,}\\', ""]
    for name, networks in (("full", uris), ("empty", [])):
        server = ResourceServer(identifier=name, name="R", networks=tuple(networks))
        await ResourceServerRow(**columns(server)).save()
        stored = await ResourceServerRow.objects().get(ResourceServerRow.identifier == name)
        assert stored is not None
        assert stored.networks == networks
