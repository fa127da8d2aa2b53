"""A site with a document, documents of this machine that are accepted, and empty caches."""

import secrets
from collections.abc import AsyncIterator

import pytest

from idp.infra import rate_limits
from idp.infra.db.engine import execute
from idp.oauth.clients import lookup, registry
from idp.oauth.clients.documents import budgets, freshness, identifiers, resolver, service
from idp.settings import settings
from tests.support.documents import ClientSite, client_site


@pytest.fixture
async def site() -> AsyncIterator[ClientSite]:
    async with client_site() as site:
        yield site


@pytest.fixture
def path() -> str:
    """The path of a document that no other test has."""
    return f"/{secrets.token_hex(8)}.json"


@pytest.fixture
async def accepted(monkeypatch: pytest.MonkeyPatch, db: str) -> AsyncIterator[None]:
    """This process accepts documents of this machine, and has fetched none."""
    config = settings().model_copy(
        update={"client_id_metadata_documents": "open", "outbound_allow_http": True, "address_limits": False}
    )
    for module in (lookup, registry, budgets, freshness, identifiers, service):
        monkeypatch.setattr(module, "settings", lambda: config)
    resolver.fresh.clear()
    resolver.failed.clear()
    # The other budgets are of one document or one site.
    await execute("DELETE FROM throttle WHERE key = $1", rate_limits.key(budgets.OF_ALL, ""))
    yield
    resolver.fresh.clear()
    resolver.failed.clear()
