"""A migration that blocks the writers of a table for too long is stopped."""

import pytest

from idp.infra.db import blocking, migrate
from idp.infra.db.engine import fetchrow
from tests.support.migrations import AddMigration, migration

#: A statement that takes a lock, and one that keeps it: for ever, if nobody stops it.
LOCK, FOR_EVER = "ALTER TABLE mail ADD COLUMN colour text", "SELECT pg_sleep(600)"


@pytest.fixture(autouse=True)
def short_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking, "LIMIT_SECONDS", 0.3)
    monkeypatch.setattr(blocking, "LOOK_SECONDS", 0.02)


async def has_column() -> bool:
    row = await fetchrow(
        "SELECT count(*) AS number FROM information_schema.columns WHERE table_name = 'mail' AND column_name = 'colour'"
    )
    return row is not None and row["number"] == 1


@pytest.mark.parametrize(
    "lock", [LOCK, "LOCK TABLE mail IN SHARE MODE", "CREATE INDEX mail_by_template ON mail (template)"]
)
async def test_a_transaction_is_rolled_back(own_database: str, add_migration: AddMigration, lock: str) -> None:
    key = add_migration(migration(1, lock, FOR_EVER))
    with pytest.raises(migrate.MigrationFailedError) as failed:
        await migrate.upgrade()
    words = failed.value.description
    assert "blocked requests on the table mail for" in words
    assert "changed nothing" in words
    assert "idp db rehearse" in words
    assert "idp db upgrade --any-lock" in words
    assert await migrate.pending() == [key]
    assert not await has_column()


async def test_a_statement_outside_of_transactions_is_cancelled(own_database: str, add_migration: AddMigration) -> None:
    lock = "DO $$ BEGIN LOCK TABLE mail IN ACCESS EXCLUSIVE MODE; PERFORM pg_sleep(600); END $$"
    add_migration(migration(1, lock, transaction=False))
    with pytest.raises(migrate.MigrationFailedError, match="starts from its beginning at the next attempt"):
        await migrate.upgrade()


async def test_in_a_maintenance_window_it_may_go_on(own_database: str, add_migration: AddMigration) -> None:
    key = add_migration(migration(1, LOCK, "SELECT pg_sleep(0.6)"))
    assert await migrate.upgrade(any_lock=True) == [key]
    assert await has_column()


@pytest.mark.parametrize(
    "statement",
    ["LOCK TABLE mail IN ROW EXCLUSIVE MODE", "CREATE TABLE colour (name text)", "SELECT 1 FROM mail FOR UPDATE"],
)
async def test_what_blocks_nobody_may_take_long(own_database: str, add_migration: AddMigration, statement: str) -> None:
    key = add_migration(migration(1, statement, "SELECT pg_sleep(0.6)"))
    assert await migrate.upgrade() == [key]
