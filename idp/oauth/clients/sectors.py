"""The document at ``sector_identifier_uri``: the redirect URIs of all clients of a sector.

OpenID Connect Registration section 5. It is read when a client registers or changes its URIs, and not again.
"""

from typing import NamedTuple

from idp.infra import foreign_json, outbound
from idp.infra.name_lookups import STRANGERS
from idp.oauth.clients.metadata import ClientMetadata, invalid_metadata

SECONDS = 5.0
MAX_BYTES = 256 * 1024


class Sector(NamedTuple):
    """The document at a URI."""

    uri: str
    redirect_uris: frozenset[str]


async def fetch(uri: str) -> Sector:
    """Fetch a document.

    Raises:
        OAuthError: ``invalid_client_metadata``, there is no such document at this URI.
    """
    try:
        body = await outbound.get(
            uri, {"Accept": "application/json"}, timeout_seconds=SECONDS, max_bytes=MAX_BYTES, lookups=STRANGERS
        )
        return Sector(uri, frozenset(foreign_json.decode(body, list[str])))
    except (outbound.CallFailed, ValueError) as error:
        raise invalid_metadata(
            "sector_identifier_uri has no JSON list of redirect URIs.", hint=f"{uri}: {outbound.cause(error)}"
        ) from error


def check(metadata: ClientMetadata, sector: Sector | None) -> None:
    """Require that the document of the client's sector lists its redirect URIs.

    Args:
        sector: the document that was fetched for this change.

    Raises:
        OAuthError: ``invalid_client_metadata``.
    """
    if metadata.sector_identifier_uri is None:
        return
    if sector is None or sector.uri != metadata.sector_identifier_uri:
        raise invalid_metadata("sector_identifier_uri was changed at the same time. Try again.")
    if not sector.redirect_uris.issuperset(metadata.redirect_uris):
        raise invalid_metadata("The document at sector_identifier_uri must list all redirect_uris of the client.")
