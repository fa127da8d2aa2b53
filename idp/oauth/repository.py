"""The statements on consents, and those that consume codes and revoke token families.

Redemption and rotation are in :mod:`idp.oauth.statements`, the issue of codes in
:mod:`idp.oauth.authorize.repository`.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from idp import ids
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.rows import many, one

# The consent that was given under the documents that the client shows now.
_FIND_CONSENT = "SELECT pairs, claims FROM consent WHERE user_id = $1 AND client_id = $2 AND documents_hash = $3"
# Earlier grants stay, unless the documents have changed: then only the new grant counts.
_SAVE_CONSENT = """
INSERT INTO consent AS c (id, user_id, client_id, pairs, claims, documents_hash, granted_at)
VALUES ($1, $2, $3, $4, $5, $6, now())
ON CONFLICT (user_id, client_id) DO UPDATE SET
    pairs = CASE WHEN c.documents_hash = $6 THEN ARRAY(SELECT DISTINCT unnest(c.pairs || $4)) ELSE $4 END,
    claims = CASE WHEN c.documents_hash = $6 THEN ARRAY(SELECT DISTINCT unnest(c.claims || $5)) ELSE $5 END,
    documents_hash = $6, granted_at = now()
"""
_DELETE_CONSENT = "DELETE FROM consent WHERE user_id = $1 AND client_id = $2"

# Consents, and tokens of first-party clients, which are issued without one: a row for each kind of token.
_AUTHORIZED_CLIENTS = """
SELECT c.client_id, c.client_name, c.client_uri, c.logo_uri,
       g.pairs, g.claims, g.scope, g.resource, g.requested, g.granted_at,
       (SELECT max(created_at) FROM token_family WHERE user_id = $1 AND client_id = c.client_id) AS last_used_at
FROM client AS c JOIN (
    SELECT client_id, pairs, claims, NULL AS scope, NULL AS resource, NULL AS requested, granted_at
    FROM consent WHERE user_id = $1
    UNION ALL
    SELECT client_id, NULL, NULL, scope, resource, f.claims, min(created_at) FROM token_family AS f
    WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > now()
      AND NOT EXISTS (SELECT FROM consent WHERE user_id = $1 AND client_id = f.client_id)
    GROUP BY client_id, scope, resource, f.claims
) AS g ON g.client_id = c.client_id
ORDER BY c.client_name, c.client_id, g.granted_at
"""

_CONSUME_ALL_CODES = "UPDATE authorization_code SET consumed_at = now() WHERE consumed_at IS NULL"
_CONSUME_CODES_OF_USER = f"{_CONSUME_ALL_CODES} AND user_id = $1"
_CONSUME_CODES_OF_CLIENT = f"{_CONSUME_ALL_CODES} AND client_id = $1"
_CONSUME_CODES_OF_CONSENT = f"{_CONSUME_ALL_CODES} AND user_id = $1 AND client_id = $2"
_CONSUME_CODES_OF_SESSIONS = f"{_CONSUME_ALL_CODES} AND session_id = ANY ($1::uuid[])"
_REVOKE_ALL_FAMILIES = "UPDATE token_family SET revoked_at = now(), revoked_reason = $1 WHERE revoked_at IS NULL"
_REVOKE_FAMILIES_OF_USER = f"{_REVOKE_ALL_FAMILIES} AND user_id = $2"
_REVOKE_FAMILIES_OF_CLIENT = f"{_REVOKE_ALL_FAMILIES} AND client_id = $2"
_REVOKE_FAMILIES_OF_CONSENT = f"{_REVOKE_ALL_FAMILIES} AND user_id = $2 AND client_id = $3"
_REVOKE_FAMILIES_OF_SESSIONS = f"{_REVOKE_ALL_FAMILIES} AND session_id = ANY ($2::uuid[])"

_LIVE_FAMILY = "f.revoked_at IS NULL AND f.expires_at > now()"
# An empty name stands for this server.
_RESOURCE = "unnest(CASE WHEN f.resource = '{}' THEN ARRAY[''] ELSE f.resource END) AS resource"
_RESOURCES_OF_USER = f"""
SELECT DISTINCT {_RESOURCE} FROM token_family AS f WHERE f.user_id = $1 AND {_LIVE_FAMILY}
"""  # noqa: S608
_RESOURCES_OF_CLIENT = f"""
SELECT DISTINCT {_RESOURCE} FROM token_family AS f WHERE f.client_id = $1 AND {_LIVE_FAMILY}
"""  # noqa: S608
_CLIENT_NAMES_OF_USER = f"""
SELECT DISTINCT c.client_name FROM token_family AS f JOIN client AS c USING (client_id)
WHERE f.user_id = $1 AND {_LIVE_FAMILY} ORDER BY 1
"""  # noqa: S608


class StoredConsent(msgspec.Struct, frozen=True):
    """The scopes and claims of a consent. A pair is a scope and its resource, separated by a space."""

    pairs: list[str]
    claims: list[str]


class AuthorizedClient(msgspec.Struct, frozen=True):
    """A client with a consent (``pairs`` and ``claims``), or with a kind of live token (the three after them)."""

    client_id: str
    client_name: str
    client_uri: str | None
    logo_uri: str | None
    pairs: list[str] | None
    claims: list[str] | None
    scope: str | None
    resource: list[str] | None
    requested: str | None
    granted_at: datetime
    last_used_at: datetime | None


async def find_consent(user_id: UUID, client_id: str, documents_hash: bytes) -> StoredConsent | None:
    """The consent of a user to a client and these documents."""
    return one(StoredConsent, await fetchrow(_FIND_CONSENT, user_id, client_id, documents_hash))


async def save_consent(user_id: UUID, client_id: str, consent: StoredConsent, documents_hash: bytes) -> None:
    """Insert a consent, or add to the one that there is."""
    values = (user_id, client_id, consent.pairs, consent.claims, documents_hash)
    await execute(_SAVE_CONSENT, ids.uuid7(), *values)


async def delete_consent(user_id: UUID, client_id: str) -> bool:
    return bool(await execute(_DELETE_CONSENT, user_id, client_id))


async def delete_consents_of_user(user_id: UUID) -> int:
    """Returns how many consents were deleted."""
    return await execute("DELETE FROM consent WHERE user_id = $1", user_id)


async def delete_consents_of_client(client_id: str) -> int:
    """Returns how many consents were deleted."""
    return await execute("DELETE FROM consent WHERE client_id = $1", client_id)


async def authorized_clients(user_id: UUID) -> list[AuthorizedClient]:
    """The clients with a consent or a live token of a user, by name."""
    return many(AuthorizedClient, await fetch(_AUTHORIZED_CLIENTS, user_id))


async def consume_codes_of_user(user_id: UUID) -> int:
    """Returns how many codes were consumed, as do the functions after this one."""
    return await execute(_CONSUME_CODES_OF_USER, user_id)


async def consume_codes_of_client(client_id: str) -> int:
    return await execute(_CONSUME_CODES_OF_CLIENT, client_id)


async def consume_codes_of_consent(user_id: UUID, client_id: str) -> int:
    return await execute(_CONSUME_CODES_OF_CONSENT, user_id, client_id)


async def consume_codes_of_sessions(session_ids: Sequence[UUID]) -> int:
    return await execute(_CONSUME_CODES_OF_SESSIONS, session_ids)


async def consume_all_codes() -> int:
    return await execute(_CONSUME_ALL_CODES)


async def revoke_families_of_user(user_id: UUID, reason: str) -> int:
    """Returns how many token families were revoked, as do the functions after this one."""
    return await execute(_REVOKE_FAMILIES_OF_USER, reason, user_id)


async def revoke_families_of_client(client_id: str, reason: str) -> int:
    return await execute(_REVOKE_FAMILIES_OF_CLIENT, reason, client_id)


async def revoke_families_of_consent(user_id: UUID, client_id: str, reason: str) -> int:
    return await execute(_REVOKE_FAMILIES_OF_CONSENT, reason, user_id, client_id)


async def revoke_families_of_sessions(session_ids: Sequence[UUID], reason: str) -> int:
    return await execute(_REVOKE_FAMILIES_OF_SESSIONS, reason, session_ids)


async def revoke_all_families(reason: str) -> int:
    return await execute(_REVOKE_ALL_FAMILIES, reason)


async def resources_of_user(user_id: UUID) -> list[str]:
    """The resources that live token families of a user are for; an empty name is this server."""
    return [row["resource"] for row in await fetch(_RESOURCES_OF_USER, user_id)]


async def resources_of_client(client_id: str) -> list[str]:
    """The resources that live token families of a client are for; an empty name is this server."""
    return [row["resource"] for row in await fetch(_RESOURCES_OF_CLIENT, client_id)]


async def client_names_of_user(user_id: UUID) -> list[str]:
    """The names of the clients with a live token family of a user."""
    return [row["client_name"] for row in await fetch(_CLIENT_NAMES_OF_USER, user_id)]
