"""Mappings of claims, for tests of what they put into tokens."""

from typing import Any

from idp.oauth.claims import registration
from idp.oauth.claims.models import ClaimMapping, Place
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry

EVERYWHERE = tuple(Place)


async def a_mapping(client: Client | None, claim: str, source: dict[str, Any], **values: Any) -> ClaimMapping:
    """Add a mapping, by default to every place."""
    client_id = client.client_id if client is not None else None
    mapping = await registration.add(client_id, claim=claim, source=source, **({"places": EVERYWHERE} | values))
    await registry.load()
    return mapping
