"""`idp db`, and the messages of other commands if the database is not ready."""

import asyncpg
import pytest

from idp.infra.db.engine import is_distributed
from tests.cli.conftest import Cli, OwnCli
from tests.support.server import free_port


async def test_upgrading_an_empty_database(own_cli: OwnCli) -> None:
    cli = await own_cli(migrated=False)
    assert cli.fails("users", "list") == "The database is not up to date. Run: idp db upgrade."
    before = cli("db", "status", "--json").json
    assert before
    assert all(migration["applied_at"] is None for migration in before)
    assert cli("db", "upgrade").out.splitlines() == [f"Applied {migration['id']}." for migration in before]
    assert all(migration["applied_at"] for migration in cli("db", "status", "--json").json)
    assert cli("db", "upgrade").out == "The database is up to date.\n"
    assert "pending" not in cli("db", "status").out
    assert cli("users", "list", "--json").json == []


@pytest.mark.parametrize("fresh", [True, False])
async def test_a_database_of_a_version_that_was_never_released(own_cli: OwnCli, fresh: bool) -> None:
    """Every command refuses it by the same sentence, and changes nothing."""
    cli = await own_cli(migrated=not fresh)
    connection = await asyncpg.connect(cli.settings["IDP_DATABASE_URL"])
    try:
        await connection.execute(
            """
            CREATE TABLE IF NOT EXISTS migration (id serial, name text, app_name text, ran_on timestamp);
            INSERT INTO migration (name, app_name, ran_on) VALUES ('2026-11-23T05:25:37:201635', 'idp', now());
            """
        )
        tables = await connection.fetch("SELECT tablename FROM pg_tables ORDER BY 1")
        for command in (("db", "status"), ("db", "upgrade"), ("users", "list"), ("serve", "--port", str(free_port()))):
            problem = cli.fails(*command)
            assert problem.startswith("This database was created by another version of idp: ")
            assert "2026-11-23T05:25:37:201635" in problem
        assert await connection.fetch("SELECT tablename FROM pg_tables ORDER BY 1") == tables
    finally:
        await connection.close()


def test_the_embedded_database(python: Cli) -> None:
    """Without a database in the settings, one is made on demand, started for each command and stopped again."""
    python("db", "upgrade")
    assert python("clients", "list", "--json").json == []
    assert not (python.folder / "data" / "postgres" / "postmaster.pid").exists()


@pytest.mark.fault(43)
async def test_after_a_backup_was_restored(own_cli: OwnCli) -> None:
    """It prints what it revoked and what to check; the audit trail has the same."""
    cli = await own_cli()
    cli("keys", "generate")
    (before,) = cli("keys", "list", "--json").json
    report = cli("db", "restored", "--yes", "--json").json
    assert report["keys"] == [before["kid"]]
    assert report["ended"].keys() >= {"sessions", "token_families", "codes", "invitations"}
    assert [key["kid"] for key in cli("keys", "list", "--json").json if key["state"] == "active"] != [before["kid"]]
    out = cli("db", "restored", "--keep-keys", "--yes").out
    assert "All users were signed out" in out
    assert "users and clients that were disabled" in out
    assert len(cli("audit", "list", "--event", "database_restored", "--json").json) == 2


async def test_distributing_a_database_without_citus(own_cli: OwnCli, db: str) -> None:
    cli = await own_cli()
    if is_distributed():
        assert cli("db", "distribute", "--plan").out == ""
        assert cli("db", "distribute").out == "All tables are placed.\n"
    else:
        assert cli.fails("db", "distribute", "--plan") == "The database does not have the extension citus."
        assert cli.fails("db", "distribute") == "The database does not have the extension citus."
