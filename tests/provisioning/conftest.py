"""A SCIM server in memory, a separate database, and what publishes, delivers and works on jobs."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from idp import app, ids
from idp.accounts import users
from idp.accounts.attributes.registry import attributes
from idp.accounts.tables import Origin, User
from idp.delivery import outbox
from idp.events import publish
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.provisioning import jobs, targets
from idp.settings import settings
from tests.provisioning.fake import FakeScim
from tests.support.isolated import isolated
from tests.support.postgres import Cluster


@pytest.fixture(scope="module")
async def database(db: str, cluster: Cluster, template: str) -> AsyncIterator[str]:
    """A database for the tests of a module."""
    async with isolated(await cluster.create_database(template)) as dsn:
        yield dsn


@pytest.fixture
async def empty(database: str) -> str:
    """No users, no groups, no targets."""
    await execute(
        "TRUNCATE users, groups, organization, attribute, client, delivery, delivery_stream, provisioning_target,"
        " event_feed, event_feed_kind CASCADE"
    )
    await attributes.load()
    return database


@pytest.fixture
async def scim(empty: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeScim]:
    monkeypatch.setenv("IDP_OUTBOUND_ALLOW_HTTP", "true")
    monkeypatch.setenv("IDP_OUTBOUND_ALLOWED_HOSTS", "127.0.0.1/32")
    settings.cache_clear()
    async with FakeScim() as server:
        yield server
    monkeypatch.undo()
    settings.cache_clear()


async def user(email: str = "", **claims: Any) -> User:
    return await users.create_user(email or f"{ids.uuid7()}@example.com", None, origin=Origin.OPERATOR, **claims)


async def target(scim: FakeScim, *, enabled: bool = True, **values: Any) -> UUID:
    """Create a target, and enable it."""
    target_id = await targets.create(f"Target {ids.uuid7()}", scim.url, "the-token", **values)
    if enabled:
        await targets.set_enabled(target_id, True)
    return target_id


async def deliver() -> None:
    """Publish all events, work on all jobs that are due, and make all deliveries that are due."""
    busy = True
    while busy:
        busy = False
        while await publish.publish(app.SUBSCRIBERS):
            busy = True
        while await jobs.work():
            busy = True
        while await outbox.deliver_due(app.DELIVERIES):
            busy = True


async def make_due() -> None:
    """End all waits and pauses."""
    await execute(
        "UPDATE delivery SET next_attempt_at = least(next_attempt_at, now()) WHERE next_attempt_at IS NOT NULL"
    )
    await execute("UPDATE delivery_stream SET free_at = now()")
    await execute("UPDATE provisioning_job SET next_run_at = now() WHERE next_run_at IS NOT NULL")


async def known(user_id: UUID) -> asyncpg.Record | None:
    return await fetchrow("SELECT * FROM provisioned_user WHERE user_id = $1", user_id)


async def responses() -> list[str]:
    """Return the responses of all deliveries in their order."""
    return [row["response"] for row in await fetch("SELECT response FROM delivery ORDER BY id")]
