"""The tables on the nodes of a Citus cluster (docs/scaling.md).

Everything here runs on any PostgreSQL. With `make test DATABASE_URL=…` on a server with Citus, the tables of the whole
test run are distributed, and the plans are those of Citus.
"""

import re
import sys
from datetime import timedelta

import asyncpg
import pytest

from idp import app, clock, ids
from idp.accounts.repository import users
from idp.infra.db import citus, distribution
from idp.infra.db.coalescing import CoalescedQuery
from idp.infra.db.distribution import CannotDistributeError, ForeignKey, Placement
from idp.infra.db.engine import fetch, is_distributed
from idp.oauth.token.repository import refresh_tokens
from idp.piccolo_app import APP_CONFIG, BY_USER, REFERENCE
from idp.signin.repository import sessions, subjects

PLACEMENT = Placement(BY_USER, REFERENCE)
#: What Citus cannot check, which docs/scaling.md lists.
DROPPED = {
    ("backchannel_request", "session"),
    ("device_authorization", "users"),
    ("device_token", "device"),
    ("email_proof", "users"),
    ("organization_invitation", "users"),
    ("passkey_credential", "passkey"),
    ("signin_flow", "session"),
    ("signin_flow", "users"),
    ("token_family", "session"),
    ("upstream_sid", "session"),
    ("upstream_subject", "identity"),
    ("user_email", "users"),
    ("users", "user_email"),
}
#: A value of each type of parameters.
VALUES = {
    "uuid": ids.uuid7(),
    "bytea": b"value",
    "text": "1",
    "timestamptz": clock.now(),
    "float8": 1.0,
    "interval": timedelta(seconds=1),
    "int4": 1,
    "bool": True,
    "jsonb": "{}",
    "text[]": ["value"],
}
#: Statements for each request beside those that requests share.
HOT = {
    "lock a user": users._LOCK,
    "the user of a sign-in": subjects._SUBJECT,
    "store a session": sessions._INSERT_SESSION,
    "touch a session": sessions._TOUCH_SESSION,
    "lock a session": sessions._LOCK_SESSION,
    "repeat a rotation": refresh_tokens._REPEAT_ROTATION,
    "revoke a reused token": refresh_tokens._REVOKE_REUSED,
    "a live refresh token": refresh_tokens._LIVE_REFRESH_TOKEN,
}


def shared_statements() -> dict[str, CoalescedQuery]:
    assert app
    return {
        f"{name}.{key}": value
        for name, module in list(sys.modules.items())
        if name.startswith("idp.")
        for key, value in vars(module).items()
        if isinstance(value, CoalescedQuery)
    }


async def plan(dsn: str, statement: str) -> str:
    connection = await asyncpg.connect(dsn)
    try:
        kinds = [kind.name for kind in (await connection.prepare(statement)).get_parameters()]
        rows = await connection.fetch(f"EXPLAIN {statement}", *(VALUES[kind] for kind in kinds))
        return "\n".join(row[0] for row in rows)
    finally:
        await connection.close()


def nodes(plan: str) -> set[str]:
    """The numbers of nodes that the parts of a plan of Citus concern."""
    return set(re.findall(r"Task Count: (\d+)", plan))


# Placement


def test_every_table_is_in_one_group() -> None:
    tables = APP_CONFIG.table_classes
    assert len(set(tables)) == len(tables)
    assert PLACEMENT.users == "users"


async def test_the_foreign_keys_that_are_dropped(db: str) -> None:
    keys = [ForeignKey(*row) for row in await fetch(distribution._FOREIGN_KEYS)]
    assert len(keys) > 50 - len(DROPPED)
    found = {(key.table, key.target) for key in keys if PLACEMENT.concerns(key) and not PLACEMENT.keeps(key)}
    assert found == (set() if is_distributed() else DROPPED)


async def test_without_citus(db: str) -> None:
    if is_distributed():
        assert await distribution.plan(PLACEMENT) == []
    else:
        with pytest.raises(CannotDistributeError, match="does not have the extension citus"):
            await distribution.plan(PLACEMENT)


# The statements


async def test_a_shared_statement_for_one_request_is_the_same_statement(db: str) -> None:
    connection = await asyncpg.connect(db)
    try:
        for name, query in shared_statements().items():
            many, one = await connection.prepare(query.text), await connection.prepare(query.single)
            assert one.get_attributes() == many.get_attributes(), name
            assert [f"{kind.name}[]" for kind in one.get_parameters()] == [
                kind.name for kind in many.get_parameters()
            ], name
    finally:
        await connection.close()


async def test_a_statement_for_each_request_concerns_one_node(db: str) -> None:
    shared = {name: query.single for name, query in shared_statements().items() if "user_id" in query.names}
    assert len(shared) >= 9
    for name, statement in (shared | HOT).items():
        assert nodes(await plan(db, statement)) == ({"1"} if is_distributed() else set()), name


@pytest.mark.parametrize(
    ("statement", "text", "moment"),
    [
        ("SELECT coalesce(a, now()) FROM session", "SELECT coalesce(a, now()) FROM session", None),
        ("UPDATE session SET a = now()", "UPDATE session SET a = now()", None),
        (
            "UPDATE session SET a = coalesce(a, now()), b = now() WHERE id = $1",
            "UPDATE session SET a = coalesce(a, $2::timestamptz), b = $2::timestamptz WHERE id = $1",
            "SELECT now()",
        ),
        (
            "UPDATE client SET a = clock_timestamp()",
            "UPDATE client SET a = $1::timestamptz",
            "SELECT clock_timestamp()",
        ),
        (
            "WITH due AS (SELECT id FROM session FOR NO KEY UPDATE SKIP LOCKED) DELETE FROM session USING due",
            "WITH due AS (SELECT id FROM session) DELETE FROM session USING due",
            None,
        ),
        (
            "WITH old AS (SELECT FROM mail WHERE (SELECT set_config('a', 'b', true)) = 'b' AND true FOR UPDATE NOWAIT)",
            "WITH old AS (SELECT FROM mail WHERE true)",
            None,
        ),
        # A queue on the coordinator.
        (
            "WITH due AS (SELECT id FROM mail FOR UPDATE SKIP LOCKED) DELETE FROM mail USING due",
            "WITH due AS (SELECT id FROM mail FOR UPDATE SKIP LOCKED) DELETE FROM mail USING due",
            None,
        ),
    ],
)
def test_the_text_for_citus(statement: str, text: str, moment: str | None) -> None:
    assert citus.adapted(statement, {"session"}) == citus.Adapted(text, moment)


def test_the_inserted_rows_of_one_request_take_the_user_from_users() -> None:
    rest = """
    , old AS (UPDATE family AS f SET used = true FROM asked AS a WHERE f.user_id = a.user_id RETURNING f.user_id)
    , new AS (INSERT INTO token (user_id, id) SELECT user_id, 1 FROM old) SELECT user_id FROM old"""
    text = citus.for_one({"id": "text", "user_id": "uuid"}, rest)
    assert text.startswith("WITH asked AS (SELECT $1::text AS id, $2::uuid AS user_id, 1::bigint AS number)")
    assert "f.user_id = $2::uuid" in text
    assert "FROM (SELECT id AS user_id FROM users WHERE id = $2::uuid) AS mine JOIN old USING (user_id))" in text
    assert text.endswith("SELECT user_id FROM old")
