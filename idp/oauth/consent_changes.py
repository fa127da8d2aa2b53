"""Facts about a client by document on the consent page, and its changes since the user consented.

Nobody vouches for such a client, and its document can change at any time. What is proved is its host.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

import msgspec

from idp.infra.i18n import gettext as _
from idp.oauth.clients import redirects
from idp.oauth.clients import repository as clients
from idp.oauth.clients.documents.identifiers import host_of
from idp.oauth.clients.models import Client
from idp.oauth.repository import consents

#: The members whose change asks the user again. Not the keys, which a good client replaces.
_SHOWN = (
    *("client_name", "client_uri", "policy_uri", "tos_uri", "redirect_uris"),
    *("token_endpoint_auth_method", "jwks_uri"),
)


class DocumentFacts(NamedTuple):
    """The facts about a client by document that a user should know.

    Attributes:
        host: the host of its document, which is proved.
        first_seen: when the first user of this server allowed it; None: nobody has.
        local: the address of the user's device to which the response goes, where any program can take the client's
            place; None if it goes elsewhere.
        changes: what has changed since this user consented, as sentences.
    """

    host: str
    first_seen: datetime | None
    local: str | None
    changes: list[str]


def shown_metadata(client: Client) -> str | None:
    """Return what a user consents to as JSON, for the next comparison; None for a client that an administrator
    registered.

    A client that registered itself can change what it says, as a document can change.
    """
    if client.origin == "admin":
        return None
    values = {name: getattr(client, name) for name in _SHOWN}
    # Their order means nothing.
    return msgspec.json.encode(values | {"redirect_uris": sorted(client.redirect_uris)}, order="sorted").decode()


def documents_hash(client: Client) -> bytes:
    """Return a hash of what the consent page shows of a client besides the request. A consent is for this only."""
    shown = shown_metadata(client) or f"{client.policy_uri or ''}\0{client.tos_uri or ''}"
    return sha256(shown.encode()).digest()


async def document_facts(client: Client, user_id: UUID, redirect_uri: str) -> DocumentFacts | None:
    """Return what the consent page shows of a client by document; None for any other client."""
    if client.origin != "document":
        return None
    stored = await clients.find_client(client.client_id)
    before = await consents.find_shown_metadata(user_id, client.client_id)
    return DocumentFacts(
        host_of(client.client_id),
        stored.created_at if stored is not None else None,
        urlsplit(redirect_uri).hostname if redirects.is_loopback(redirect_uri) else None,
        [] if before is None else list(_changes(msgspec.json.decode(before), client)),
    )


def _changes(before: Mapping[str, Any], client: Client) -> Iterator[str]:
    now = msgspec.json.decode(shown_metadata(client) or "{}")
    changed = {name for name in _SHOWN if before.get(name) != now[name]}
    if "client_name" in changed:
        yield _("The name. It was %(name)s before.", name=before.get("client_name"))
    if "redirect_uris" in changed:
        added = [uri for uri in now["redirect_uris"] if uri not in before.get("redirect_uris", ())]
        if added:
            yield _("The addresses the application may send you to. New: %(addresses)s", addresses=", ".join(added))
        else:
            yield _("The addresses the application may send you to. There are fewer.")
    if "client_uri" in changed:
        yield _("The address of its site.")
    if "policy_uri" in changed:
        yield _("The privacy policy.")
    if "tos_uri" in changed:
        yield _("The terms of service.")
    if changed & {"token_endpoint_auth_method", "jwks_uri"}:
        yield _("How the application proves its identity.")
