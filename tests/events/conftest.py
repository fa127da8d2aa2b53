"""Receivers on loopback and a separate database, whose events this process publishes and delivers."""

from collections.abc import AsyncIterator

import pytest

from idp import app
from idp.delivery import outbox
from idp.events import publish
from idp.infra.db.engine import execute
from idp.keys import lifecycle
from idp.keys.key_set import key_set
from idp.oauth.clients.registry import registry
from idp.settings import settings
from tests.support.isolated import isolated
from tests.support.postgres import Cluster
from tests.support.receivers import Receivers


@pytest.fixture(scope="module")
async def database(db: str, cluster: Cluster, template: str) -> AsyncIterator[str]:
    """A database for the tests of a module, with a signing key."""
    async with isolated(await cluster.create_database(template)) as dsn:
        await lifecycle.ensure_signing_key("RS256")
        await key_set.load()
        yield dsn
    registry.__init__()  # type: ignore[misc]


@pytest.fixture
async def receivers(database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receivers]:
    await execute("TRUNCATE delivery, delivery_stream, webhook, event_feed, event_feed_kind CASCADE")
    monkeypatch.setenv("IDP_OUTBOUND_ALLOW_HTTP", "true")
    monkeypatch.setenv("IDP_OUTBOUND_ALLOWED_HOSTS", "127.0.0.1/32")
    monkeypatch.setenv("IDP_SHARED_SIGNALS", "true")
    settings.cache_clear()
    async with Receivers() as receivers:
        yield receivers
    monkeypatch.undo()
    settings.cache_clear()


async def deliver() -> None:
    """Publish all events and make all deliveries that are due."""
    while await publish.publish():
        pass
    while await outbox.deliver_due(app.DELIVERIES):
        pass
