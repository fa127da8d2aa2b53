"""`idp db`, and what other commands say of a database that is not ready."""

from tests.cli.conftest import Cli, OwnCli


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


def test_the_embedded_database(bare: Cli) -> None:
    """Without a database in the settings, one is made on demand, started for each command and stopped again."""
    bare("db", "upgrade")
    assert bare("clients", "list", "--json").json == []
    assert not (bare.folder / "data" / "postgres" / "postmaster.pid").exists()
