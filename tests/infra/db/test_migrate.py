"""Bringing a database up to date, by one or by many."""

import asyncio
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest

from idp.accounts.tables import User
from idp.audit.tables import AuditEvent
from idp.infra.db import migrate
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.outages import DatabaseUnavailableError
from idp.oauth.clients.tables import ClientRow
from idp.piccolo_app import APP_CONFIG

TABLES = {table._meta.tablename for table in APP_CONFIG.table_classes}


async def tables() -> set[str]:
    rows = await fetch("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    return {row["tablename"] for row in rows}


async def test_an_empty_database_gets_every_table(empty_database: str) -> None:
    ids = await migrate.pending()
    assert ids
    assert ids == sorted(ids)
    assert await migrate.upgrade() == ids
    assert await tables() == TABLES | {"migration"}
    assert await migrate.pending() == []
    assert await migrate.upgrade() == []


async def test_the_status_tells_when(empty_database: str) -> None:
    assert all(migration.applied_at is None for migration in await migrate.status())
    await migrate.upgrade()
    row = await fetchrow("SELECT now() AS now")
    assert row
    for migration in await migrate.status():
        assert migration.applied_at is not None
        assert 0 <= (row["now"] - migration.applied_at).total_seconds() < 60
        assert migration.name.startswith("m0")


async def test_where_there_is_nothing_to_do_nothing_is_locked(
    own_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every start asks."""
    monkeypatch.delattr(migrate, "_alone")
    assert await migrate.upgrade() == []


def _installed(folder: Path, code: str, dsn: str) -> subprocess.Popen[str]:
    """Python with nothing of ours but the package, as a wheel would bring it."""
    with suppress(FileExistsError):
        (folder / "idp").symlink_to(Path(__file__).parents[3] / "idp")
    return subprocess.Popen(
        [sys.executable, "-c", code, dsn],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        # The variable of somebody else's project must not lead us to somebody else's database.
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


@pytest.mark.fault(45)
async def test_indexes_of_large_tables_are_built_while_others_write(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The build waits for a transaction that has written, and nobody who writes meanwhile waits for the build."""
    shipped = migrate._shipped()
    monkeypatch.setattr(migrate, "_shipped", lambda: dict(list(shipped.items())[:5]))
    assert len(await migrate.upgrade()) == 5
    monkeypatch.setattr(migrate, "_shipped", lambda: shipped)
    # What an attempt that was interrupted leaves.
    await execute("CREATE INDEX audit_event_without_seq ON audit_event (id)")
    write = "INSERT INTO audit_event (id, event, outcome) VALUES (gen_random_uuid(), 'test', 'success')"
    early, late = await asyncpg.connect(empty_database), await asyncpg.connect(empty_database)
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
        assert len(await asyncio.wait_for(upgrading, 60)) == len(shipped) - 5
    finally:
        await early.close()
        await late.close()
    rows = await fetch("SELECT indexrelid::regclass::text AS name FROM pg_index WHERE NOT indisvalid")
    assert rows == []
    row = await fetchrow("SELECT indexdef FROM pg_indexes WHERE indexname = 'audit_event_without_seq'")
    assert row is not None
    assert "seq IS NULL" in row["indexdef"]


async def test_a_table_in_use_is_not_waited_for_long(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "LOCK_TIMEOUT_SECONDS", 0.2)
    blocker = await asyncpg.connect(empty_database)
    try:
        async with blocker.transaction():
            # Nobody can know yet whether there will be a table of this name.
            await blocker.execute("CREATE TABLE users (id int)")
            with pytest.raises(migrate.MigrationFailedError, match="in use"):
                await migrate.upgrade()
            await blocker.execute("DROP TABLE users")
    finally:
        await blocker.close()
    assert await tables() == set()


async def test_the_migrations_make_what_the_tables_say(own_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If this fails, a table was changed without `piccolo migrations new idp --auto`."""
    monkeypatch.setenv("PICCOLO_CONF", "idp.piccolo_conf")
    from piccolo.apps.migrations.commands.new import AutoMigrationManager

    path = sys.path.copy()
    try:
        differences = await AutoMigrationManager(auto_input="y").get_alter_statements(APP_CONFIG)
    finally:
        sys.path[:] = path
    assert [statement for found in differences for statement in found.statements] == []


async def test_every_index_and_reference_is_there(own_database: str) -> None:
    rows = await fetch("SELECT indexname FROM pg_indexes WHERE schemaname = current_schema()")
    indexes = {row["indexname"] for row in rows}
    rows = await fetch("SELECT conname FROM pg_constraint WHERE contype = 'f'")
    references = {row["conname"] for row in rows}
    for table in APP_CONFIG.table_classes:
        name = table._meta.tablename
        assert f"{name}_pkey" in indexes
        for column in table._meta.columns:
            if column._meta.index:
                assert f"{name}_{column._meta.name}" in indexes
            if column._meta.unique:
                assert f"{name}_{column._meta.name}_key" in indexes
        for column in table._meta.foreign_key_columns:
            assert f"{name}_{column._meta.name}_fkey" in references
    assert "one_per_client" in indexes


async def test_no_column_has_one_uuid_for_all_rows(own_database: str) -> None:
    rows = await fetch(
        "SELECT table_name, column_name FROM information_schema.columns "
        "WHERE table_schema = current_schema() "
        "AND data_type = 'uuid' AND column_default IS NOT NULL"
    )
    assert rows == []


async def test_an_old_postgresql_is_refused(own_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await migrate.check_version()
    monkeypatch.setattr(migrate, "MIN_VERSION", 99)
    with pytest.raises(DatabaseUnavailableError, match="PostgreSQL 99 or later is needed; this one is 1"):
        await migrate.check_version()


async def test_json_and_arrays_round_trip(own_database: str) -> None:
    user = User(email="a@example.com", address={"formatted": 'Zoë "Street"', "country": None})
    await user.save()
    again = await User.objects().output(load_json=True).where(User.id == user.id).first()
    assert again is not None
    assert again.to_dict()["address"] == {"formatted": 'Zoë "Street"', "country": None}
    await AuditEvent(event="test", outcome="success").save()
    row = await fetchrow("SELECT detail, jsonb_typeof(detail) AS kind FROM audit_event")
    assert row is not None
    assert (row["detail"], row["kind"]) == ("{}", "object")
    uris = ["https://a.example/cb", 'x:"{,}\\', ""]
    await ClientRow(client_id="c", redirect_uris=uris).save()
    client = await ClientRow.objects().get(ClientRow.client_id == "c")
    assert client is not None
    assert (client.redirect_uris, client.grant_types) == (uris, [])
