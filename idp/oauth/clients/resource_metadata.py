"""The metadata that a resource server publishes about itself (RFC 9728)."""

from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from idp.errors import OAuthError
from idp.infra import foreign_json, outbound
from idp.oauth.scopes import STANDARD_SCOPES
from idp.settings import settings

TIMEOUT_SECONDS = 10.0
MAX_BYTES = 64 * 1024
_WELL_KNOWN = "/.well-known/oauth-protected-resource"


class PublishedMetadata(NamedTuple):
    """The metadata that a resource server publishes. ``scope`` has the scopes that it defines."""

    identifier: str
    name: str
    scope: str


class _Document(msgspec.Struct, frozen=True):
    """The members that we use (section 2)."""

    resource: str
    authorization_servers: list[str] | None = None
    scopes_supported: list[str] = []
    resource_name: str | None = None


async def fetch(url: str) -> PublishedMetadata:
    """Fetch the metadata of a resource server.

    Args:
        url: its identifier, or the URL of its metadata.

    Raises:
        OAuthError: ``invalid_target``, there is no such document, it is of another resource server (section 3.3), or it
            names other authorization servers only.
    """
    identifier, metadata_url = _urls(url)
    try:
        found = await outbound.get_document(
            metadata_url, {"Accept": "application/json"}, timeout_seconds=TIMEOUT_SECONDS, max_bytes=MAX_BYTES
        )
        document = foreign_json.decode(found.body, _Document)
    except (outbound.CallFailed, ValueError) as error:
        raise _refused(
            "The resource server has no metadata at its well-known URL (RFC 9728).",
            hint=f"{metadata_url}: {outbound.cause(error)}",
        ) from error
    if document.resource not in (identifier, identifier.removesuffix("/"), f"{identifier}/"):
        raise _refused("The metadata are those of another resource.")
    if document.authorization_servers is not None and settings().issuer not in document.authorization_servers:
        raise _refused("The metadata do not name this server in authorization_servers.")
    scopes = [name for name in document.scopes_supported if name not in STANDARD_SCOPES]
    return PublishedMetadata(
        document.resource, document.resource_name or urlsplit(document.resource).netloc, " ".join(scopes)
    )


def _urls(url: str) -> tuple[str, str]:
    """Return the identifier, and the URL of its metadata (section 3.1)."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _refused("This is not a URL.") from error
    path = parts.path
    if path == _WELL_KNOWN or path.startswith(f"{_WELL_KNOWN}/"):
        return parts._replace(path=path.removeprefix(_WELL_KNOWN)).geturl(), url
    return url, parts._replace(path=_WELL_KNOWN + path.rstrip("/"), fragment="").geturl()


def _refused(description: str, *, hint: str | None = None) -> OAuthError:
    return OAuthError("invalid_target", description, hint=hint)
