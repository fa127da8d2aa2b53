"""How PostgreSQL runs the hot statements on full tables: by indexes alone, without a sort (docs/performance.md)."""

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import msgspec
import pytest

from bench.large import Scale, fill
from idp.db.engine import execute
from idp.oauth import statements
from idp.oauth.clients.registration import register_client
from idp.signin import flow, limits, outcome, sessions, standing
from idp.web import throttle
from tests.support.isolated import isolated
from tests.support.postgres import Cluster

HOT = {name: value for name, value in vars(statements).items() if name.isupper() and not name.startswith("_")} | {
    "session": sessions._FIND,
    "touched session": sessions._TOUCH,
    "flow": flow._FIND,
    "step taken": outcome._GO_ON.text,
    "sign-in ended": outcome._END.text,
    "flow finished": flow._FINISH,
    "person": standing._BY_ID.text,
    "user by email": "SELECT * FROM users WHERE email = $1",
    "password tried": limits._TRY_PASSWORD.text,
    "try": throttle._ATTEMPT_ALONE.text,
    "count forgotten": throttle._FORGET,
}
#: Those that put what they lock in order, so that no two of them wait for each other.
SORTS = {"END_EARLIER_CODES"}


@pytest.fixture(scope="module")
async def full(cluster: Cluster, template: str) -> AsyncIterator[asyncpg.Connection]:
    """A database in which a scan of a table costs more than a look into an index."""
    async with isolated(await cluster.create_database(template)) as dsn:
        client, _ = await register_client(client_name="Large", redirect_uris=["https://client.example/callback"])
        await fill(dsn, client.client_id, Scale().of(0.005))
        await execute(
            "INSERT INTO authorization_code (code_hash, family_id, client_id, user_id, session_id, redirect_uri, scope,"
            " resource, offline_access, auth_time, amr, acr, created_at, expires_at)"
            " SELECT sha256(id::text::bytea), uuidv7(), $1, user_id, id, '', '', '{}', false, now(), '{}', '1', now(),"
            " now() + interval '1 minute' FROM session",
            client.client_id,
        )
        await execute(
            "INSERT INTO signin_flow (id, browser_hash, return_to, login_hint, acr, insist, done, turn, created_at,"
            " expires_at) SELECT id::text, token_hash, '/', '', '1', false, '{}', 0, now(), expires_at FROM session"
        )
        await execute(
            "INSERT INTO throttle (key, rule, number, interval, tolerance, refused, free_at)"
            " SELECT sha256(email::bytea), '', 1, 1, 1, false, now() FROM users"
        )
        await execute(
            "INSERT INTO device (id, token_hash, user_id, created_at, expires_at)"
            " SELECT uuidv7(), sha256(email::bytea), id, now(), now() + interval '1 year' FROM users"
        )
        await execute("INSERT INTO totp (id, user_id, secret, created_at) SELECT uuidv7(), id, '', now() FROM users")
        await execute(
            "INSERT INTO recovery_code (id, user_id, code_hash, created_at) SELECT uuidv7(), id, '', now() FROM users"
        )
        await execute(
            "INSERT INTO passkey (id, user_id, credential_id, public_key, transports, aaguid, name, created_at)"
            " SELECT uuidv7(), id, email::bytea, '', '{}', id, '', now() FROM users"
        )
        await execute("INSERT INTO revoked_access_token (jti, expires_at) SELECT id::text, expires_at FROM session")
        await execute("ANALYZE")
        connection = await asyncpg.connect(dsn, statement_cache_size=0)
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        yield connection
        await connection.close()


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)


async def _plan(connection: asyncpg.Connection, statement: str) -> list[dict[str, Any]]:
    """The plan for whatever is asked, as a server that asks often gets it."""
    number = max(map(int, re.findall(r"\$([0-9]+)", statement)), default=0)
    await connection.execute(f"DEALLOCATE ALL; PREPARE hot AS {statement}")
    arguments = f"({', '.join(['NULL'] * number)})" if number else ""
    text = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE hot{arguments}")
    return list(_nodes(msgspec.json.decode(text)[0]["Plan"]))


@pytest.mark.parametrize("name", HOT)
async def test_by_indexes_alone(full: asyncpg.Connection, name: str) -> None:
    nodes = await _plan(full, HOT[name])
    assert [node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"] == []
    assert name in SORTS or not [node for node in nodes if "Sort" in node["Node Type"]]


async def test_a_scan_would_be_seen(full: asyncpg.Connection) -> None:
    nodes = await _plan(full, "SELECT FROM users WHERE name = $1 ORDER BY created_at")
    assert {"Seq Scan", "Sort"} <= {node["Node Type"] for node in nodes}
