"""Expired rows are deleted in small batches, and no others."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from piccolo.table import Table
from structlog.testing import capture_logs

from idp import clock, housekeeping, ids
from idp.accounts.tables import EmailProof, Invitation
from idp.accounts.users import create_user
from idp.admin.tables import IdempotentAnswer
from idp.delivery.tables import Delivery, DeliveryStream
from idp.directory import organizations
from idp.directory.tables import OrganizationInvitation
from idp.federation.tables import UpstreamAttempt
from idp.infra.db import expiring
from idp.infra.db.columns import Bytea, Text, Timestamptz
from idp.infra.db.engine import engine, execute, fetch, is_distributed, transaction
from idp.infra.db.expiring import Expiring, Key
from idp.infra.db.outages import DatabaseUnavailableError
from idp.infra.tables import Throttle
from idp.mail.tables import Mail
from idp.oauth.ciba.tables import BackchannelRequest
from idp.oauth.clients.dynamic.tables import InitialAccessToken
from idp.oauth.clients.registration import register_client
from idp.oauth.device.tables import DeviceAuthorization
from idp.oauth.status.tables import Tombstone
from idp.oauth.tables import (
    AuthorizationCode,
    AuthorizationRequestRow,
    PushedRequest,
    RefreshToken,
    RevokedAccessToken,
    TokenFamily,
)
from idp.piccolo_app import APP_CONFIG
from idp.signin.tables import Device, Flow, Session
from tests.support.isolated import isolated, own_database
from tests.support.postgres import Cluster

__all__ = ["own_database"]

TABLES = {table.name: table for table in housekeeping.EXPIRING}
SIGNIN_FLOW = TABLES["signin_flow"]
YEAR = timedelta(days=365)
FOR_EVER = datetime(9999, 1, 1, tzinfo=UTC)


class Fill:
    """Inserts rows that expire at a given time, into a database with a client, a user and a family."""

    def __init__(self, user: UUID, session: UUID, family: UUID, organization: UUID) -> None:
        self.user, self.session, self.family, self.organization = user, session, family, organization

    @classmethod
    async def begin(cls) -> "Fill":
        await register_client("c", client_name="x", redirect_uris=["https://app.example.com/cb"])
        user = await create_user("alice@example.com", None)
        fill = cls(user.id, ids.uuid7(), ids.uuid7(), (await organizations.create("acme", "Acme")).id)
        for row in (fill.row("session", FOR_EVER, id=fill.session), fill.row("token_family", FOR_EVER, id=fill.family)):
            await type(row).insert(row)
        return fill

    def row(self, table: str, expires_at: datetime, **values: Any) -> Table:
        now, random = clock.now(), ids.random_token()
        signed_in = {"user_id": self.user, "auth_time": now, "amr": ["pwd"], "acr": "1"}
        granted = signed_in | {
            "client_id": "c", "session_id": self.session, "scope": "openid", "resource": [], "offline_access": False,
        }  # fmt: skip
        makers: dict[str, tuple[type[Table], dict[str, Any]]] = {
            "signin_flow": (
                Flow,
                {
                    "id": random,
                    "browser_hash": b"",
                    "return_to": "/",
                    "login_hint": "",
                    "acr": "1",
                    "required_acr": "1",
                    "done": [],
                    "trace_id": "",
                },
            ),
            "authorization_request": (
                AuthorizationRequestRow,
                {"id": random, "client_id": "c", "request": "{}"},
            ),
            "pushed_request": (
                PushedRequest,
                {"request_uri_hash": random.encode(), "client_id": "c", "request": "{}"},
            ),
            "device_authorization": (
                DeviceAuthorization,
                {
                    "device_code_hash": random.encode(),
                    "user_code_hash": random.encode(),
                    "client_id": "c",
                    "request": "{}",
                    "status": "pending",
                    "poll_interval": 5,
                    "ip_address": "",
                },
            ),
            "authorization_code": (
                AuthorizationCode,
                granted
                | {
                    "code_hash": random.encode(),
                    "family_id": ids.uuid7(),
                    "redirect_uri": "https://app.example.com/cb",
                    "trace_id": "",
                },
            ),
            "backchannel_request": (
                BackchannelRequest,
                {
                    "user_id": self.user,
                    "auth_req_hash": random.encode(),
                    "client_id": "c",
                    "request": "{}",
                    "ip_address": "",
                    "poll_interval": 5,
                    "next_poll_at": now,
                },
            ),
            "refresh_token": (
                RefreshToken,
                {"user_id": self.user, "family_id": self.family, "token_hash": b"", "issued_at": now},
            ),
            "token_family": (TokenFamily, granted),
            "revoked_access_token": (RevokedAccessToken, {"jti": random}),
            "tombstone": (Tombstone, {"id": random}),
            "session": (
                Session,
                signed_in
                | {"token_hash": random.encode(), "steps": [], "user_agent": "", "ip_address": "", "last_seen_at": now},
            ),
            "email_proof": (EmailProof, {"purpose": "sign_in", "email": "a@example.com"}),
            "organization_invitation": (
                OrganizationInvitation,
                {
                    "organization_id": self.organization,
                    "email": f"{random}@example.com",
                    "role_ids": [],
                    "sent_at": now,
                    "token_hash": random.encode(),
                },
            ),
            "invitation": (Invitation, {"email": "a@example.com", "token_hash": random.encode()}),
            "device": (Device, {"user_id": self.user, "token_hash": random.encode()}),
            "mail": (Mail, {"recipient": "a@example.com", "template": "welcome", "state": "queued", "response": ""}),
            "delivery": (Delivery, {"kind": "logout", "stream": "client:a", "state": "dead", "response": ""}),
            "delivery_stream": (DeliveryStream, {"stream": random}),
            "upstream_attempt": (UpstreamAttempt, {"state_hash": random.encode(), "upstream_id": "google"}),
            "idempotent_answer": (IdempotentAnswer, {"id": random.encode(), "request_hash": b"", "headers": "{}"}),
            "initial_access_token": (
                InitialAccessToken,
                {"id": ids.uuid7(), "token_hash": random.encode(), "name": "x", "ceiling": "{}", "uses_left": 1},
            ),
            "throttle": (Throttle, {"key": random.encode(), "rule": "r", "number": 1}),
        }
        kind, defaults = makers[table]
        return kind(**({TABLES[table].expiry: expires_at} | defaults | values))

    async def __call__(self, table: str, expired_for: timedelta, count: int = 1) -> None:
        rows = [self.row(table, clock.now() - expired_for) for _ in range(count)]
        await type(rows[0]).insert(*rows)


@pytest.fixture
async def fill(cluster: Cluster, template: str) -> AsyncIterator[Fill]:
    """A database for one test, and the function that fills it."""
    async with isolated(await cluster.create_database(template)):
        yield await Fill.begin()


async def _count(table: str) -> int:
    expiry = TABLES[table].expiry
    (row,) = await fetch(f"SELECT count(*) FROM {table} WHERE {expiry} <> $1", FOR_EVER)
    count: int = row["count"]
    return count


@pytest.mark.parametrize("table", TABLES)
async def test_expired_rows_are_deleted_and_others_stay(fill: Fill, table: str) -> None:
    """Rows that have just expired stay for a while: a code that is replayed then still revokes its family."""
    lengths = {"1 minute": 60, "1 hour": 3600, "1 day": 86400, "30 days": 30 * 86400}
    kept = timedelta(seconds=lengths[TABLES[table].kept])
    kept += timedelta(seconds=TABLES[table].further())
    for expired_for in (timedelta(days=-100), timedelta(minutes=-1), kept - timedelta(minutes=1)):
        await fill(table, expired_for)
    for expired_for in (kept + timedelta(seconds=1), timedelta(days=3650)):
        await fill(table, expired_for)
    assert await _count(table) == 5
    await housekeeping.round_of_deletions()
    assert await _count(table) == 3


def test_no_table_that_expires_is_forgotten() -> None:
    tables = {table._meta.tablename for table in APP_CONFIG.table_classes}
    expiring = {
        table._meta.tablename
        for table in APP_CONFIG.table_classes
        if any(column._meta.name in ("expires_at", "free_at") for column in table._meta.columns)
    }
    # A client is deleted with a notice to the workers, which hold it in memory.
    # A SCIM token is a SCIM client too, and gets a new value after it expired.
    assert expiring == {"client", "scim_token", *TABLES}
    # Rows that must not be lost do not expire.
    assert {"users", "audit_event", "signing_key", "consent"} <= tables - expiring


async def test_rows_are_deleted_by_their_primary_key(db: str) -> None:
    """With only a part of the key, rows of others could be deleted too."""
    found = {row["table"]: set(row["columns"]) for row in await fetch(_PRIMARY_KEYS, list(TABLES))}
    assert {name: {column._meta.name for column in table._columns} for name, table in TABLES.items()} == found


_PRIMARY_KEYS = """
SELECT conrelid::regclass::text AS table, array_agg(attname::text) AS columns
FROM pg_constraint JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY (conkey)
WHERE contype = 'p' AND conrelid::regclass::text = ANY ($1) GROUP BY 1
"""


async def test_a_round_is_bounded(fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    """One round deletes few rows, and the next one goes on."""
    monkeypatch.setattr(expiring, "ROUND", 30)
    await fill("revoked_access_token", YEAR, 45)
    assert await housekeeping.round_of_deletions()
    assert await _count("revoked_access_token") == 15
    assert not await housekeeping.round_of_deletions()
    assert await _count("revoked_access_token") == 0


async def test_a_batch_that_took_long_is_followed_by_smaller_ones(fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are locked as long as their statement lasts, and a busy machine makes it last."""
    sizes = []

    async def noted(table: Expiring, keys: Sequence[Key]) -> int:
        sizes.append(len(keys))
        return await delete(table, keys)

    delete = expiring.delete
    monkeypatch.setattr(expiring, "delete", noted)
    monkeypatch.setattr(expiring, "LOCKED_SECONDS", 0)
    await fill("signin_flow", YEAR, 45)
    await expiring.clean(SIGNIN_FLOW)
    assert sizes == [25, 12, 6, 2]
    sizes.clear()
    monkeypatch.setattr(expiring, "LOCKED_SECONDS", 60)
    await fill("signin_flow", YEAR, 300)
    await expiring.clean(SIGNIN_FLOW)
    assert sizes == [25, 50, 100, 100, 25]


async def test_a_batch_locks_only_what_it_deletes(fill: Fill) -> None:
    """A row that got a later expiry after it was found stays, and the batch does not wait for it."""
    await fill("signin_flow", YEAR, 3)
    keys = await _found()
    assert len(keys) == 3
    await execute("UPDATE signin_flow SET expires_at = now() + interval '1 hour' WHERE id = $1", *keys[0])
    assert await expiring.delete(SIGNIN_FLOW, keys) == 2
    assert await _count("signin_flow") == 1


async def test_a_deletion_does_not_wait_for_the_disk(fill: Fill) -> None:
    """Its rows stay locked until the commit is done. What else the transaction's connection commits is durable."""
    await fill("signin_flow", YEAR, 3)
    async with transaction():
        assert await expiring.delete(SIGNIN_FLOW, await _found()) == 3
        assert await _durability() == ("on" if is_distributed() else "off")
    assert await _durability() == "on"


async def _durability() -> str:
    (row,) = await fetch("SELECT current_setting('synchronous_commit') AS value")
    value: str = row["value"]
    return value


async def test_a_table_with_many_dead_rows_waits_for_vacuum(fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deletions that are faster than autovacuum would slow down every statement on the table."""
    monkeypatch.setattr(expiring, "MAX_DEAD", 4)
    await execute("ALTER TABLE signin_flow SET (autovacuum_enabled = false)")
    await fill("signin_flow", timedelta(days=-1), 60)
    await fill("signin_flow", YEAR, 10)
    async with transaction():
        assert await expiring.delete(SIGNIN_FLOW, (await _found())[:3]) == 3
        await execute("SELECT pg_stat_force_next_flush()")
    assert not await expiring.waits_for_vacuum(SIGNIN_FLOW), "few rows are not worth a wait"
    async with transaction():
        assert await expiring.delete(SIGNIN_FLOW, (await _found())[:2]) == 2
        await execute("SELECT pg_stat_force_next_flush()")
    assert not await expiring.clean(SIGNIN_FLOW)
    assert await _count("signin_flow") == 65
    await execute("VACUUM signin_flow")
    await expiring.clean(SIGNIN_FLOW)
    assert await _count("signin_flow") == 60


async def test_autovacuum_begins_before_the_clean_up_waits_for_it(fill: Fill) -> None:
    """Otherwise a table would wait for ever."""
    rows = await fetch(
        "SELECT relname AS name, option_value::float8 AS part FROM pg_class, pg_options_to_table(reloptions)"
        " WHERE relname = ANY ($1) AND option_name = 'autovacuum_vacuum_scale_factor'",
        list(TABLES),
    )
    assert {row["name"] for row in rows} == set(TABLES)
    assert all(row["part"] < expiring.MAX_DEAD_PART for row in rows)


async def test_replicas_do_not_wait_for_each_other(fill: Fill) -> None:
    """Rows that another one is deleting are passed over."""
    await fill("signin_flow", YEAR, 5)
    keys = await _found()
    async with transaction():
        assert await expiring.delete(SIGNIN_FLOW, keys[:3]) == 3
        async with asyncio.timeout(20):
            assert await asyncio.create_task(_elsewhere(expiring.delete(SIGNIN_FLOW, keys))) == 2
    assert await _count("signin_flow") == 0


async def test_a_worker_skips_a_table_that_another_is_cleaning(fill: Fill) -> None:
    """Both would find the same rows; the one that gets none of its batch has nothing to do there."""
    await fill("signin_flow", YEAR, 50)
    keys = await _found()
    async with transaction():
        await expiring.delete(SIGNIN_FLOW, keys[:25])
        async with asyncio.timeout(20):
            assert not await asyncio.create_task(_elsewhere(expiring.clean(SIGNIN_FLOW)))
    assert await _count("signin_flow") == 25


async def _found() -> list[Key]:
    keys, _ = await expiring.find(SIGNIN_FLOW)
    return keys


async def _elsewhere(work: Awaitable[int]) -> int:
    """Run a function on another connection than that of the transaction."""
    engine.current_transaction.set(None)
    return await work


async def test_a_family_stays_until_its_tokens_are_gone(fill: Fill) -> None:
    """Otherwise PostgreSQL would delete all of its tokens in one statement, and keep all of them locked."""
    family = fill.row("token_family", clock.now() - YEAR)
    token = fill.row("refresh_token", clock.now() + YEAR, family_id=family)
    for row in (family, token):
        await type(row).insert(row)
    await housekeeping.round_of_deletions()
    assert (await _count("refresh_token"), await _count("token_family")) == (1, 1)
    await execute("UPDATE refresh_token SET expires_at = now() - interval '2 days'")
    await housekeeping.round_of_deletions()
    assert (await _count("refresh_token"), await _count("token_family")) == (0, 0)


class Pair(Table, tablename="pair", db=engine):
    """A table with several key columns."""

    owner = Text(primary_key=True)
    name = Text()
    hash = Bytea()
    expires_at = Timestamptz()


async def test_a_key_of_several_columns(fill: Fill) -> None:
    """A row is deleted by its whole key: another with the same owner or name stays."""
    pairs = Expiring(Pair, "1 hour", key=("owner", "name", "hash"))
    await execute(
        "CREATE TABLE pair (owner text, name text, hash bytea, expires_at timestamptz, PRIMARY KEY (owner, name, hash))"
    )
    await execute(
        "INSERT INTO pair VALUES ('1', 'a', 'x', now()), ('1', 'b', 'y', now() - interval '1 day'),"
        " ('2', 'a', 'x', now() - interval '1 day')"
    )
    assert await expiring.delete(pairs, [("1", "a", b"x"), ("1", "b", b"x"), ("2", "a", b"y")]) == 0
    keys, _ = await expiring.find(pairs)
    assert sorted(keys) == [("1", "b", b"y"), ("2", "a", b"x")]
    assert not await expiring.clean(pairs)
    assert [tuple(row) for row in await fetch("SELECT owner, name FROM pair")] == [("1", "a")]


@pytest.mark.parametrize(
    "error",
    [DatabaseUnavailableError("x"), asyncpg.LockNotAvailableError("x"), ConnectionResetError("x"), TimeoutError()],
)
async def test_cleaning_continues_after_a_failure(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """A temporary outage of the database does not stop it."""
    rounds: asyncio.Queue[None] = asyncio.Queue()

    async def fails() -> bool:
        rounds.put_nowait(None)
        raise error

    monkeypatch.setattr(housekeeping, "INTERVAL_SECONDS", 0.001)
    monkeypatch.setattr(housekeeping, "round_of_deletions", fails)
    task = asyncio.create_task(housekeeping.run())
    async with asyncio.timeout(20):
        for _ in range(3):
            await rounds.get()
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_table_that_fails_keeps_no_other_from_being_cleaned(own_database: str) -> None:
    first, *_, last = (table.name for table in housekeeping.EXPIRING)
    await execute(f"ALTER TABLE {first} RENAME TO away")
    await execute(
        f"INSERT INTO {last} (rule, key, number, free_at) VALUES ('test', 'x', 1, now() - interval '90 days')"
    )
    with capture_logs() as logs:
        await housekeeping.round_of_deletions()
    assert [(line["event"], line["table"]) for line in logs if line["log_level"] == "warning"] == [
        ("housekeeping_failed", first)
    ]
    assert await fetch(f"SELECT FROM {last}") == []


async def test_clients_and_people_are_not_touched(fill: Fill) -> None:
    before = [await fetch(f"SELECT * FROM {table}") for table in ("users", "client", "audit_event", "revision")]
    await housekeeping.round_of_deletions()
    after = [await fetch(f"SELECT * FROM {table}") for table in ("users", "client", "audit_event", "revision")]
    assert before == after
