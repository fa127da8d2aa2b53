"""What has expired is deleted, a little at a time, and nothing else is."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from piccolo.table import Table

from idp import clock, housekeeping, ids
from idp.accounts.tables import EmailProof, Invitation
from idp.accounts.users import create_user
from idp.admin.tables import IdempotentAnswer
from idp.db.engine import DatabaseUnavailable, engine, fetch, transaction
from idp.federation.tables import Attempt
from idp.mail.tables import Mail
from idp.oauth.clients.registration import register_client
from idp.oauth.tables import (
    AuthorizationCode,
    AuthorizationRequestRow,
    RefreshToken,
    RevokedAccessToken,
    TokenFamily,
)
from idp.piccolo_app import APP_CONFIG
from idp.signin.tables import Device, Flow, Session
from idp.web.tables import Throttle
from tests.support.isolated import isolated
from tests.support.postgres import Cluster

#: How long expired rows of each table are kept.
KEPT = {table: kept for table, _, kept in housekeeping.EXPIRING}
YEAR = timedelta(days=365)
FOR_EVER = datetime(9999, 1, 1, tzinfo=UTC)


class Fill:
    """Adds rows that expire at a time of one's choice, to a database that has a client, a user and a family."""

    def __init__(self, user: UUID, session: UUID, family: UUID) -> None:
        self.user, self.session, self.family = user, session, family

    @classmethod
    async def begin(cls) -> "Fill":
        await register_client("c", client_name="x", redirect_uris=["https://app.example.com/cb"])
        user = await create_user("alice@example.com", None)
        fill = cls(user.id, ids.uuid7(), ids.uuid7())
        for row in (fill.row("session", FOR_EVER, id=fill.session), fill.row("token_family", FOR_EVER, id=fill.family)):
            await type(row).insert(row)
        return fill

    def row(self, table: str, expires_at: datetime, **values: Any) -> Table:
        now, random = clock.now(), ids.random_token()
        signed_in = {"user_id": self.user, "auth_time": now, "amr": ["pwd"], "acr": "1"}
        granted = signed_in | {"client_id": "c", "session_id": self.session, "scope": "openid", "resource": []}
        makers: dict[str, tuple[type[Table], dict[str, Any]]] = {
            "signin_flow": (Flow, {"id": random, "browser_hash": b"", "return_to": "/"}),
            "authorization_request": (
                AuthorizationRequestRow,
                {"id": random, "browser_hash": b"", "client_id": "c", "request": "{}"},
            ),
            "authorization_code": (
                AuthorizationCode,
                granted | {"code_hash": random.encode(), "redirect_uri": "https://app.example.com/cb"},
            ),
            "refresh_token": (RefreshToken, {"family_id": self.family, "token_hash": b"", "issued_at": now}),
            "token_family": (TokenFamily, granted),
            "revoked_access_token": (RevokedAccessToken, {"jti": random}),
            "session": (Session, signed_in | {"token_hash": random.encode()}),
            "email_proof": (EmailProof, {"purpose": "sign_in", "email": "a@example.com"}),
            "invitation": (Invitation, {"email": "a@example.com", "token_hash": random.encode()}),
            "device": (Device, {"user_id": self.user, "token_hash": random.encode()}),
            "mail": (Mail, {"recipient": "a@example.com", "template": "welcome"}),
            "upstream_attempt": (Attempt, {"state_hash": random.encode(), "upstream_id": "google"}),
            "idempotent_answer": (IdempotentAnswer, {"id": random.encode(), "request_hash": b""}),
            "throttle": (Throttle, {"key": random.encode(), "rule": "r"}),
        }
        kind, defaults = makers[table]
        return kind(**({housekeeping.EXPIRY.get(table, "expires_at"): expires_at} | defaults | values))

    async def __call__(self, table: str, expired_for: timedelta, count: int = 1) -> None:
        rows = [self.row(table, clock.now() - expired_for) for _ in range(count)]
        await type(rows[0]).insert(*rows)


@pytest.fixture
async def fill(cluster: Cluster, template: str) -> AsyncIterator[Fill]:
    """A database for one test alone, and what fills it."""
    async with isolated(await cluster.create_database(template)):
        yield await Fill.begin()


async def _count(table: str) -> int:
    expiry = housekeeping.EXPIRY.get(table, "expires_at")
    (row,) = await fetch(f"SELECT count(*) FROM {table} WHERE {expiry} <> $1", FOR_EVER)
    count: int = row["count"]
    return count


@pytest.mark.parametrize("table", KEPT)
async def test_what_expired_is_deleted_and_the_rest_stays(fill: Fill, table: str) -> None:
    """What just expired stays for a while: a code that is replayed then still revokes what it gave."""
    kept = {"1 hour": timedelta(hours=1), "1 day": timedelta(days=1), "30 days": timedelta(days=30)}[KEPT[table]]
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
    assert expiring == set(KEPT)
    # What nobody may lose has no end.
    assert {"users", "client", "audit_event", "signing_key", "consent"} <= tables - expiring


async def test_batches_are_small(fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    """One statement holds few rows, one round is bounded, and the next one goes on."""
    monkeypatch.setattr(housekeeping, "BATCH", 10)
    monkeypatch.setattr(housekeeping, "FIRST_BATCH", 10)
    monkeypatch.setattr(housekeeping, "BATCHES_A_ROUND", 3)
    await fill("revoked_access_token", YEAR, 45)
    assert (await housekeeping.delete_expired("revoked_access_token", "jti", "1 hour", 10)).rows == 10
    assert await _count("revoked_access_token") == 35
    assert await housekeeping.round_of_deletions()
    assert await _count("revoked_access_token") == 5
    assert not await housekeeping.round_of_deletions()
    assert await _count("revoked_access_token") == 0


async def test_a_batch_that_took_long_is_followed_by_smaller_ones(fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are locked as long as their statement lasts, and a busy disk makes it last."""
    sizes = []

    async def delete(table: str, key: str, kept: str, limit: int, since: datetime) -> housekeeping.Deleted:
        if table == "signin_flow":
            sizes.append(limit)
        return await delete_expired(table, key, kept, limit, since)

    delete_expired = housekeeping.delete_expired
    monkeypatch.setattr(housekeeping, "delete_expired", delete)
    monkeypatch.setattr(housekeeping, "LOCKED_SECONDS", 0)
    await fill("signin_flow", YEAR, 60)
    await housekeeping.round_of_deletions()
    assert sizes[:4] == [50, 25]
    sizes.clear()
    monkeypatch.setattr(housekeeping, "LOCKED_SECONDS", 60)
    await fill("signin_flow", YEAR, 200)
    await housekeeping.round_of_deletions()
    assert sizes == [50, 100, 200]


async def test_a_full_batch_of_real_size(fill: Fill) -> None:
    await fill("signin_flow", YEAR, housekeeping.BATCH + 1)
    deleted = await housekeeping.delete_expired("signin_flow", "id", "1 hour", housekeeping.BATCH)
    assert deleted.rows == housekeeping.BATCH
    assert await _count("signin_flow") == 1


async def test_replicas_do_not_wait_for_each_other(fill: Fill) -> None:
    """Rows that another one is deleting are passed over."""
    await fill("signin_flow", YEAR, 5)
    async with transaction():
        assert (await housekeeping.delete_expired("signin_flow", "id", "1 hour", 3)).rows == 3
        other = asyncio.create_task(_outside_a_transaction())
        async with asyncio.timeout(5):
            assert await other == 2
    assert await _count("signin_flow") == 0


async def _outside_a_transaction() -> int:
    engine.current_transaction.set(None)
    return (await housekeeping.delete_expired("signin_flow", "id", "1 hour", 3)).rows


async def test_families_go_with_their_tokens(fill: Fill) -> None:
    """None is deleted while a token of it counts: it would end with it."""
    await fill("refresh_token", -YEAR)
    await housekeeping.round_of_deletions()
    assert await _count("refresh_token") == 1
    (row,) = await fetch("SELECT count(*) FROM token_family")
    assert row["count"] == 1


@pytest.mark.parametrize(
    "error", [DatabaseUnavailable("x"), asyncpg.LockNotAvailableError("x"), ConnectionResetError("x"), TimeoutError()]
)
async def test_it_goes_on_after_a_failure(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """A database that is away for a while is no reason to stop for ever."""
    rounds: asyncio.Queue[None] = asyncio.Queue()

    async def fails() -> bool:
        rounds.put_nowait(None)
        raise error

    monkeypatch.setattr(housekeeping, "INTERVAL_SECONDS", 0.001)
    monkeypatch.setattr(housekeeping, "round_of_deletions", fails)
    task = asyncio.create_task(housekeeping.run())
    async with asyncio.timeout(5):
        for _ in range(3):
            await rounds.get()
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_clients_and_people_are_not_touched(fill: Fill) -> None:
    before = [await fetch(f"SELECT * FROM {table}") for table in ("users", "client", "audit_event", "revision")]
    await housekeeping.round_of_deletions()
    after = [await fetch(f"SELECT * FROM {table}") for table in ("users", "client", "audit_event", "revision")]
    assert before == after
