"""The schema of the migrations equals the tables in Python, and has no forbidden defaults."""

import re
from typing import Any

import asyncpg
import pytest
from piccolo.table import create_db_tables

from idp.accounts.tables import User
from idp.ids import uuid7
from idp.infra.db import migrate
from idp.infra.db.columns import Timestamptz
from idp.infra.db.engine import execute, fetch
from idp.oauth.authorize import repository
from idp.oauth.clients.registration import register_client
from idp.oauth.tables import RefreshToken
from idp.piccolo_app import APP_CONFIG

TABLES = {table._meta.tablename: table for table in APP_CONFIG.table_classes}

_COLUMNS = """
SELECT c.relname AS table, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS required,
       pg_get_expr(d.adbin, d.adrelid) AS "default"
FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND c.relname <> 'migration' AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY 1, 2
"""
_CONSTRAINTS = """
SELECT conrelid::regclass::text AS table, conname AS name, pg_get_constraintdef(oid) AS definition FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND contype IN ('p', 'u', 'f') AND conrelid <> 'migration'::regclass
  AND conparentid = 0
"""
_INDEXES = """
SELECT tablename AS table, indexname AS name, replace(indexdef, ' ON ONLY ', ' ON ') AS definition FROM pg_indexes
WHERE schemaname = 'public' AND tablename <> 'migration'
  AND NOT (SELECT relispartition FROM pg_class WHERE oid = tablename::regclass)
"""

#: Columns without a default, by type and by name: they identify, prove, or permit something.
GIVEN_TYPES = {"uuid", "bytea", "text", "text[]", "jsonb"}
GIVEN_NAMES = re.compile(
    r"^(id|jti|kid|acr|amr|scope|scopes|resource|claims|pairs|role|admin_role|origin|issuer|subject|nonce|state|key)$"
    r"|_id$|_hash$|_uri$|_uris$|token|secret|password|challenge|_at$|_time$"
)
#: Piccolo's tables cannot refer to each other.
CIRCULAR = {"FOREIGN KEY (id, email) REFERENCES user_email(user_id, email)"}
#: The time of the insert, a counter that starts at 0, a flag that starts as false.
DEFAULTS = {"now()", "0", "false"}


async def _read(statement: str) -> set[tuple[Any, ...]]:
    return {tuple(row) for row in await fetch(statement)}


async def _catalogue() -> tuple[set[tuple[Any, ...]], set[tuple[Any, ...]], set[tuple[Any, ...]]]:
    """Columns without their defaults, constraints and indexes."""
    columns = {(table, name, kind, required) for table, name, kind, required, _ in await _read(_COLUMNS)}
    return columns, await _read(_CONSTRAINTS), await _read(_INDEXES)


async def test_the_schema_equals_the_declared_tables(empty_database: str) -> None:
    """Every table and column with its type, length and nullability; keys, references and indexes.

    If this fails, a table was changed without a migration, or the other way round.
    """
    await migrate.upgrade()
    columns, constraints, indexes = await _catalogue()
    await execute("DROP SCHEMA public CASCADE")
    await execute("CREATE SCHEMA public")
    await execute("CREATE TABLE migration ()")
    await create_db_tables(*TABLES.values())
    declared = await _catalogue()
    assert columns == declared[0]
    # Piccolo's tables cannot declare partial indexes, nor those on several columns or expressions.
    assert declared[1] <= constraints
    assert declared[2] <= indexes
    assert {definition for *_, definition in constraints} == {definition for *_, definition in declared[1]} | CIRCULAR


async def test_only_allowed_columns_have_a_default(db: str) -> None:
    found = await _read(_COLUMNS)
    assert {default for *_, default in found if default is not None} == DEFAULTS
    given = [(table, name) for table, name, kind, _, default in found if kind in GIVEN_TYPES and default is not None]
    assert given == []
    named = {name for _, name, _, _, default in found if GIVEN_NAMES.search(name) and default is not None}
    # Of these columns, only the time at which a row was created has a default.
    assert named == {"created_at", "updated_at", "granted_at"}


async def test_python_has_the_same_defaults(db: str) -> None:
    """And additional ones for new identifiers only."""
    for table, name, _, _, default in await _read(_COLUMNS):
        column = TABLES[table]._meta.get_column_by_name(name)
        own = column.get_default_value() if not callable(getattr(column, "default", None)) else None
        expected = {"now()": "now()", "0": 0, "false": False, None: None}[default]
        if isinstance(column, Timestamptz) and own is not None:
            own = "now()"
        assert (own, type(own)) == (expected, type(expected)), (table, name)


async def test_a_row_without_values_is_refused(db: str) -> None:
    for table in TABLES:
        # A row without a slot belongs to no partition, which is a check.
        with pytest.raises((asyncpg.NotNullViolationError, asyncpg.CheckViolationError)):
            await execute(f"INSERT INTO {table} DEFAULT VALUES")


async def test_a_forgotten_column_is_an_error_in_python_and_in_the_database(db: str) -> None:
    with pytest.raises(ValueError, match="token_hash wasn't provided"):
        RefreshToken(user_id=uuid7(), family_id=uuid7())
    with pytest.raises(ValueError, match="origin wasn't provided"):
        User(email="a@example.com")
    with pytest.raises(asyncpg.NotNullViolationError, match='"origin"'):
        await User.insert(User(_ignore_missing=True, email="a@example.com"))


async def test_a_request_without_a_browser_has_no_consent(db: str) -> None:
    """Authorization requests that came by POST have no browser yet."""
    with pytest.raises(asyncpg.CheckViolationError, match="authorization_request_claimed"):
        await execute(
            "INSERT INTO authorization_request (id, client_id, request, expires_at, consented_by)"
            " VALUES ('a', 'b', '{}', now(), gen_random_uuid())"
        )


async def test_a_request_that_no_browser_claimed_can_be_ended(own_database: str) -> None:
    """Requests of a compromised client, for example, and all requests after a restore."""
    client, _ = await register_client(client_name="Shop", redirect_uris=["https://shop.example/cb"])
    for name in ("a", "b"):
        await execute(
            "INSERT INTO authorization_request (id, client_id, request, expires_at)"
            " VALUES ($1, $2, '{}', now() + interval '1 hour')",
            name, client.client_id,
        )  # fmt: skip
        if name == "a":
            assert await repository.finish_requests_of_client(client.client_id) == 1
    assert await repository.finish_all_requests() == 1


async def test_a_set_up_without_a_token_is_completed(db: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError, match="setup_token"):
        await execute("INSERT INTO setup (id) VALUES (1)")
