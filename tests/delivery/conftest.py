"""Receivers on loopback, a separate database, and handlers that send what was queued."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from idp.delivery import outbox
from idp.delivery.handlers import DeliveryRejectedError, DeliveryRequest, DueDelivery, Handler
from idp.infra.db.engine import execute, fetch, fetchrow, transaction
from idp.infra.outbound import Answer
from idp.settings import settings
from tests.support.isolated import isolated
from tests.support.postgres import Cluster
from tests.support.receivers import Receivers


@pytest.fixture(scope="module")
async def database(db: str, cluster: Cluster, template: str) -> AsyncIterator[str]:
    """A database for the tests of a module, because all deliveries of a database are sent."""
    async with isolated(await cluster.create_database(template)) as dsn:
        yield dsn


@pytest.fixture
async def empty(database: str) -> str:
    """The database without deliveries."""
    await execute("TRUNCATE delivery, delivery_stream")
    return database


@pytest.fixture
async def receivers(empty: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receivers]:
    monkeypatch.setenv("IDP_OUTBOUND_ALLOW_HTTP", "true")
    monkeypatch.setenv("IDP_OUTBOUND_ALLOWED_HOSTS", "127.0.0.1/32")
    settings.cache_clear()
    async with Receivers() as receivers:
        yield receivers
    monkeypatch.undo()
    settings.cache_clear()


async def compose(delivery: DueDelivery) -> DeliveryRequest:
    """Send the content to its URL. The content may ask for an error."""
    if "gone" in delivery.content:
        raise DeliveryRejectedError("The receiver is gone.")
    if "bug" in delivery.content:
        raise RuntimeError("A secret")
    headers = {"content-type": "application/json", "id": str(delivery.id), "attempt": str(delivery.attempt)}
    return DeliveryRequest(delivery.content["url"], headers, msgspec.json.encode(delivery.content))


def _is_final(answer: Answer) -> bool:
    return answer.status == 400


HANDLERS = {
    "loose": Handler(compose),
    "strict": Handler(compose, ordered=True),
    "judged": Handler(compose, is_final=_is_final),
}


async def queue(url: str, kind: str = "loose", stream: str = "client:a", **more: Any) -> UUID:
    about = {name: more.pop(name) for name in ("user_id", "session_id", "lifetime") if name in more}
    async with transaction():
        return await outbox.queue(kind, stream, {"url": url, **more}, **about)


async def send() -> int:
    """Serve every stream that is due once."""
    return await outbox.deliver_due(HANDLERS)


async def make_due() -> None:
    """End all waits and pauses."""
    await execute(
        "UPDATE delivery SET next_attempt_at = least(next_attempt_at, now()) WHERE next_attempt_at IS NOT NULL"
    )
    await execute("UPDATE delivery_stream SET free_at = now()")


async def row_of(id: UUID) -> asyncpg.Record:
    row = await fetchrow("SELECT * FROM delivery WHERE id = $1", id)
    assert row is not None
    return row


async def states() -> list[str]:
    return [row["state"] for row in await fetch("SELECT state FROM delivery ORDER BY id")]
