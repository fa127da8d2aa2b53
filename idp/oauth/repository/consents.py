"""The statements on consents, and on the clients that a user has authorized."""

from datetime import datetime
from uuid import UUID

import msgspec

from idp import ids
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import many, one

# The consent that was given under the current documents of the client.
_FIND_CONSENT = """
SELECT pairs, claims, authorization_details FROM consent
WHERE user_id = $1 AND client_id = $2 AND documents_hash = $3
"""
_FIND_SHOWN_METADATA = "SELECT client_metadata FROM consent WHERE user_id = $1 AND client_id = $2"
#: Authorization details that a consent remembers; the oldest are forgotten, and the user is asked again.
REMEMBERED_DETAILS = 50
# Earlier grants stay, unless the documents have changed: then only the new grant counts. Of two first consents at the
# same time, the second one replaces the first.
_SAVE_CONSENT = f"""
WITH old AS (
    SELECT pairs, claims, authorization_details FROM consent
    WHERE user_id = $1 AND client_id = $2 AND documents_hash = $6 FOR UPDATE
)
INSERT INTO consent (user_id, client_id, id, pairs, claims, documents_hash, client_metadata, authorization_details,
                     granted_at)
SELECT $1, $2, $3, ARRAY(SELECT DISTINCT unnest(o.pairs || $4) ORDER BY 1),
       ARRAY(SELECT DISTINCT unnest(o.claims || $5) ORDER BY 1), $6,
       $7::jsonb, (
           SELECT jsonb_agg(detail ORDER BY at) FROM (
               SELECT detail, min(at) AS at
               FROM jsonb_array_elements(coalesce($8::jsonb, '[]') || coalesce(o.authorization_details, '[]'))
                    WITH ORDINALITY AS e (detail, at)
               GROUP BY detail ORDER BY min(at) LIMIT {REMEMBERED_DETAILS}
           ) AS kept
       ), now()
FROM (SELECT 1) AS new LEFT JOIN old AS o ON true
ON CONFLICT (user_id, client_id) DO UPDATE SET
    pairs = excluded.pairs, claims = excluded.claims, authorization_details = excluded.authorization_details,
    documents_hash = excluded.documents_hash, client_metadata = excluded.client_metadata,
    granted_at = excluded.granted_at
"""  # noqa: S608
_DELETE_CONSENTS_OF_USER = "DELETE FROM consent WHERE user_id = $1"
_DELETE_CONSENTS_OF_CLIENT = "DELETE FROM consent WHERE client_id = $1"
_DELETE_CONSENT = "DELETE FROM consent WHERE user_id = $1 AND client_id = $2"
# Consents, and tokens of first-party clients, which are issued without one: a row for each kind of token.
_AUTHORIZED_CLIENTS = """
SELECT c.client_id, c.metadata ->> 'client_name' AS client_name, c.metadata ->> 'client_uri' AS client_uri,
       c.metadata ->> 'logo_uri' AS logo_uri,
       g.pairs, g.claims, g.authorization_details, g.scope, g.resource, g.requested, g.granted_at,
       (SELECT max(created_at) FROM token_family WHERE user_id = $1 AND client_id = c.client_id) AS last_used_at
FROM client AS c JOIN (
    SELECT client_id, pairs, claims, authorization_details, NULL AS scope, NULL AS resource, NULL AS requested,
           granted_at
    FROM consent WHERE user_id = $1
    UNION ALL
    SELECT client_id, NULL, NULL, authorization_details, scope, resource, f.claims, min(created_at)
    FROM token_family AS f
    WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > now()
      AND NOT EXISTS (SELECT FROM consent WHERE user_id = $1 AND client_id = f.client_id)
    GROUP BY client_id, authorization_details, scope, resource, f.claims
) AS g ON g.client_id = c.client_id
ORDER BY client_name, c.client_id, g.granted_at
"""


class StoredConsent(msgspec.Struct, frozen=True):
    """A consent. A pair is a scope and its resource, separated by a space. ``authorization_details`` is JSON."""

    pairs: list[str]
    claims: list[str]
    authorization_details: str | None


class AuthorizedClient(msgspec.Struct, frozen=True):
    """A client with a consent (``pairs`` and ``claims``), or with a kind of live token (``scope``, ``resource`` and
    ``requested``); either with authorization details.
    """

    client_id: str
    client_name: str
    client_uri: str | None
    logo_uri: str | None
    pairs: list[str] | None
    claims: list[str] | None
    authorization_details: str | None
    scope: str | None
    resource: list[str] | None
    requested: str | None
    granted_at: datetime
    last_used_at: datetime | None


async def find_consent(user_id: UUID, client_id: str, documents_hash: bytes) -> StoredConsent | None:
    """Return the consent of a user to a client and these documents."""
    return one(StoredConsent, await fetchrow(_FIND_CONSENT, user_id, client_id, documents_hash))


async def find_shown_metadata(user_id: UUID, client_id: str) -> str | None:
    """Return the metadata of a client by document that a user consented to, as JSON; None if there is no consent."""
    row = await fetchrow(_FIND_SHOWN_METADATA, user_id, client_id)
    return row["client_metadata"] if row is not None else None


async def save_consent(
    user_id: UUID, client_id: str, consent: StoredConsent, documents_hash: bytes, shown_metadata: str | None
) -> None:
    """Insert a consent, or extend the existing one."""
    values = (user_id, client_id, ids.uuid7(), consent.pairs, consent.claims, documents_hash, shown_metadata)
    await execute(_SAVE_CONSENT, *values, consent.authorization_details)


async def delete_consent(user_id: UUID, client_id: str) -> bool:
    return bool(await execute(_DELETE_CONSENT, user_id, client_id))


async def delete_consents_of_user(user_id: UUID) -> int:
    """Delete the consents of a user. Returns their number."""
    return await execute(_DELETE_CONSENTS_OF_USER, user_id)


async def delete_consents_of_client(client_id: str) -> int:
    """Delete the consents to a client. Returns their number."""
    return await execute(_DELETE_CONSENTS_OF_CLIENT, client_id)


async def authorized_clients(user_id: UUID) -> list[AuthorizedClient]:
    """Return the clients with a consent or a live token of a user, by name."""
    return many(AuthorizedClient, await fetch(_AUTHORIZED_CLIENTS, user_id))


CONSENTS = Listing(
    source="consent AS g JOIN client AS c USING (client_id) JOIN users AS u ON u.id = g.user_id",
    columns="g.id, g.user_id, u.email, g.client_id, c.metadata ->> 'client_name' AS client_name, g.pairs, g.claims,"
    " g.authorization_details, g.granted_at",
    key=Sort("g.id", "uuid"),
    sorts={"id": Sort("g.id", "uuid")},
    default_sort="-id",
    filters={
        "id": Filter("g.id = {}", "uuid", "One consent."),
        "user_id": Filter("g.user_id = {}", "uuid", "Of one user."),
        "client_id": Filter("g.client_id = {}", help="To one client."),
    },
)
