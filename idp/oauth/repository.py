"""The statements on consents and access tokens, and those that consume codes and revoke token families.

Redemption and rotation are in :mod:`idp.oauth.token.repository`, the issue of codes in
:mod:`idp.oauth.authorize.repository`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from idp import ids
from idp.accounts.tables import User
from idp.directory.repository.organizations import is_member
from idp.infra.db.coalescing import CoalescedQuery
from idp.infra.db.columns import all_columns
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.expiring import Expiring
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import many, one
from idp.oauth.clients.documents.identifiers import shown_name
from idp.oauth.tables import RevokedAccessToken
from idp.signin.repository.sessions import SessionKey, columns
from idp.signin.transitions import FEDERATED

EXPIRING = (Expiring(RevokedAccessToken, "1 hour"),)

# The consent that was given under the current documents of the client.
_FIND_CONSENT = """
SELECT pairs, claims, authorization_details FROM consent
WHERE user_id = $1 AND client_id = $2 AND documents_hash = $3
"""
_FIND_SHOWN_METADATA = "SELECT client_metadata FROM consent WHERE user_id = $1 AND client_id = $2"
#: Authorization details that a consent remembers; the oldest are forgotten, and the user is asked again.
REMEMBERED_DETAILS = 50
# Earlier grants stay, unless the documents have changed: then only the new grant counts.
_SAVE_CONSENT = f"""
INSERT INTO consent AS c (user_id, client_id, id, pairs, claims, documents_hash, client_metadata,
                          authorization_details, granted_at)
VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb, $8, now())
ON CONFLICT (user_id, client_id) DO UPDATE SET
    pairs = CASE WHEN c.documents_hash = $6 THEN ARRAY(SELECT DISTINCT unnest(c.pairs || $4)) ELSE $4 END,
    claims = CASE WHEN c.documents_hash = $6 THEN ARRAY(SELECT DISTINCT unnest(c.claims || $5)) ELSE $5 END,
    authorization_details = CASE WHEN c.documents_hash = $6 THEN (
        SELECT jsonb_agg(detail ORDER BY at) FROM (
            SELECT detail, min(at) AS at
            FROM jsonb_array_elements(coalesce($8, '[]') || coalesce(c.authorization_details, '[]'))
                 WITH ORDINALITY AS e (detail, at)
            GROUP BY detail ORDER BY min(at) LIMIT {REMEMBERED_DETAILS}
        ) AS kept
    ) ELSE $8 END,
    documents_hash = $6, client_metadata = $7::jsonb, granted_at = now()
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

_CONSUME_ALL_CODES = "UPDATE authorization_code SET consumed_at = now() WHERE consumed_at IS NULL"
_CONSUME_CODES_OF_USER = f"{_CONSUME_ALL_CODES} AND user_id = $1"
_CONSUME_CODES_OF_CLIENT = f"{_CONSUME_ALL_CODES} AND client_id = $1"
_CONSUME_CODES_OF_CONSENT = f"{_CONSUME_ALL_CODES} AND user_id = $1 AND client_id = $2"
_CONSUME_CODES_OF_SESSION = f"{_CONSUME_ALL_CODES} AND user_id = $1 AND session_id = $2"
# $1 user_ids  $2 session_ids
_CONSUME_CODES_OF_SESSIONS = """
UPDATE authorization_code AS c SET consumed_at = now() FROM unnest($1::uuid[], $2::uuid[]) AS a (user_id, session_id)
WHERE c.user_id = a.user_id AND c.session_id = a.session_id AND c.consumed_at IS NULL
"""
_REVOKE_ALL_FAMILIES = "UPDATE token_family SET revoked_at = now(), revoked_reason = $1 WHERE revoked_at IS NULL"
_REVOKE_FAMILIES_OF_USER = f"{_REVOKE_ALL_FAMILIES} AND user_id = $2"
_REVOKE_FAMILIES_OF_CLIENT = f"{_REVOKE_ALL_FAMILIES} AND client_id = $2"
_REVOKE_FAMILIES_OF_CLIENT_BEFORE = f"{_REVOKE_FAMILIES_OF_CLIENT} AND created_at < $3"
_REVOKE_FAMILIES_OF_CONSENT = f"{_REVOKE_ALL_FAMILIES} AND user_id = $2 AND client_id = $3"
_REVOKE_FAMILIES_OF_SESSION = f"{_REVOKE_ALL_FAMILIES} AND user_id = $2 AND session_id = $3"
# What users with an identity at the upstream were issued after a sign-in with an upstream. The session may have ended,
# and tokens of the device grant and of CIBA have none. $1 reason  $2 upstream_id  $3 the method of such a sign-in
_REVOKE_FAMILIES_OF_UPSTREAM = f"""
{_REVOKE_ALL_FAMILIES} AND $3 = ANY (amr) AND user_id IN (SELECT i.user_id FROM identity AS i WHERE i.upstream_id = $2)
"""  # noqa: S608

_LIVE_FAMILY = "f.revoked_at IS NULL AND f.expires_at > now()"
# An empty name stands for this server.
_RESOURCE = "unnest(CASE WHEN f.resource = '{}' THEN ARRAY[''] ELSE f.resource END) AS resource"
_RESOURCES_OF_USER = f"""
SELECT DISTINCT {_RESOURCE} FROM token_family AS f WHERE f.user_id = $1 AND {_LIVE_FAMILY}
"""  # noqa: S608
_RESOURCES_OF_CLIENT = f"""
SELECT DISTINCT {_RESOURCE} FROM token_family AS f WHERE f.client_id = $1 AND {_LIVE_FAMILY}
"""  # noqa: S608
# $1 user_id  $2 client_id
_KNOWS_USER = f"""
SELECT FROM consent WHERE user_id = $1 AND client_id = $2
UNION ALL SELECT FROM token_family AS f WHERE user_id = $1 AND client_id = $2 AND {_LIVE_FAMILY}
LIMIT 1
"""  # noqa: S608
_CLIENT_NAMES_OF_USER = f"""
SELECT DISTINCT c.client_id, c.metadata ->> 'client_name' AS client_name
FROM token_family AS f JOIN client AS c USING (client_id)
WHERE f.user_id = $1 AND {_LIVE_FAMILY} ORDER BY 1
"""  # noqa: S608


def live_family_of_user(user_id: str) -> str:
    """Return the SQL condition that a family ``f`` of a user ``u`` still yields tokens: neither the family, nor the
    user, nor (without offline access) the session has ended, and the user is a member of its organization.

    Args:
        user_id: the id of the user, as SQL, which is compared in each table (docs/decisions/0048-keys-by-person.md).
    """
    return f"""
    f.user_id = {user_id} AND f.revoked_at IS NULL AND f.expires_at > now()
    AND u.id = {user_id} AND u.disabled_at IS NULL
    AND (f.offline_access OR EXISTS (
        SELECT FROM session AS s
        WHERE s.user_id = {user_id} AND s.id = f.session_id AND s.ended_at IS NULL AND s.expires_at > now()))
    AND (f.organization_id IS NULL OR {is_member(user_id, "f.organization_id")})
    """


_ACCESS_TOKEN_LIVES = f"""
FROM asked AS a, token_family AS f, users AS u
WHERE f.id = a.family_id AND {live_family_of_user("a.user_id")}
  AND NOT EXISTS (SELECT FROM revoked_access_token AS t WHERE t.jti = ANY (string_to_array(a.jti, ' ')))
"""
_LIVE_ACCESS_TOKEN = CoalescedQuery(
    "user_id uuid, family_id uuid, jti text",
    f"SELECT a.number, u.directory_version, f.organization_id {_ACCESS_TOKEN_LIVES}",
)
# What else an exchange of the token depends on.
_LIVE_SUBJECT = CoalescedQuery(
    "user_id uuid, family_id uuid, jti text",
    f"""
SELECT a.number, f.client_id, f.session_id, f.organization_id, f.scope, f.resource, f.authorization_details,
       u.directory_version,
       EXISTS (SELECT FROM admin_role AS r WHERE r.user_id = a.user_id) AS is_admin,
       EXISTS (SELECT FROM session AS s
               WHERE s.user_id = a.user_id AND s.id = f.session_id AND s.ended_at IS NULL AND s.expires_at > now()
       ) AS session_lives
{_ACCESS_TOKEN_LIVES}
""",  # noqa: S608
)
# With the columns that userinfo needs.
_LIVE_ACCESS_TOKEN_WITH_USER = CoalescedQuery(
    "user_id uuid, family_id uuid, jti text",
    f"SELECT a.number, {all_columns(User, 'u')}, f.claims AS requested, f.organization_id {_ACCESS_TOKEN_LIVES}",
)

_ENABLED_USER = CoalescedQuery(
    "user_id uuid", "SELECT a.number FROM asked AS a, users AS u WHERE u.id = a.user_id AND u.disabled_at IS NULL"
)

# The user is locked first, as in all transactions.
# $1 user_id  $2 family_id  $3 jti
_LOCK_ACCESS_TOKEN = f"""
SELECT u.id FROM users AS u, token_family AS f
WHERE f.id = $2 AND {live_family_of_user("$1")}
  AND NOT EXISTS (SELECT FROM revoked_access_token AS t WHERE t.jti = ANY (string_to_array($3, ' ')))
FOR SHARE OF u FOR SHARE OF f
"""  # noqa: S608

_IS_REVOKED = CoalescedQuery("jti text", "SELECT number FROM asked JOIN revoked_access_token USING (jti)")

_REVOKE_ACCESS_TOKEN = """
INSERT INTO revoked_access_token (jti, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING
"""


# The state of a family ``f`` and its user ``u``, whose id is $1, to explain a refusal.
_FAMILY_STATE = f"""
    f.id AS family_id, f.user_id, f.client_id, f.created_at, f.revoked_at IS NOT NULL AS revoked, f.revoked_reason,
    f.expires_at <= now() AS family_expired, u.disabled_at IS NOT NULL AS user_disabled,
    NOT f.offline_access AND NOT EXISTS (
        SELECT FROM session AS s
        WHERE s.user_id = $1 AND s.id = f.session_id AND s.ended_at IS NULL AND s.expires_at > now()
    ) AS session_ended,
    f.organization_id IS NOT NULL AND NOT {is_member("$1", "f.organization_id")} AS not_member
"""

# $1 user_id  $2 family_id  $3 jti  $4 token_hash
_STATE_OF_REFRESH_TOKEN = f"""
SELECT {_FAMILY_STATE}, r.jti IS NOT NULL AS known, r.rotated_at IS NOT NULL AS rotated,
       r.expires_at <= now() AS expired
FROM token_family AS f JOIN users AS u ON u.id = f.user_id
LEFT JOIN refresh_token AS r ON r.user_id = $1 AND r.jti = $3 AND r.token_hash = $4 AND r.family_id = f.id
WHERE f.user_id = $1 AND f.id = $2
"""  # noqa: S608

# $1 user_id  $2 family_id  $3 jti
_STATE_OF_ACCESS_TOKEN = f"""
SELECT {_FAMILY_STATE},
       EXISTS (SELECT FROM revoked_access_token AS t WHERE t.jti = ANY (string_to_array($3, ' '))) AS token_revoked
FROM token_family AS f JOIN users AS u ON u.id = f.user_id WHERE f.user_id = $1 AND f.id = $2
"""  # noqa: S608

# A redeemed code has a family; one that was consumed by a sign-out has none. $1 user_id  $2 code_hash
_STATE_OF_CODE = f"""
SELECT c.user_id, c.client_id, c.redirect_uri, c.code_challenge, c.confirmation, c.created_at,
       f.id AS family_id,
       c.consumed_at IS NOT NULL AS consumed, c.expires_at <= now() AS expired,
       u.disabled_at IS NOT NULL AS user_disabled, s.ended_at IS NOT NULL OR s.expires_at <= now() AS session_ended,
       c.organization_id IS NOT NULL AND NOT {is_member("$1", "c.organization_id")} AS not_member
FROM authorization_code AS c JOIN users AS u ON u.id = c.user_id
JOIN session AS s ON s.user_id = c.user_id AND s.id = c.session_id
LEFT JOIN token_family AS f ON f.user_id = c.user_id AND f.id = c.family_id
WHERE c.user_id = $1 AND c.code_hash = $2
"""  # noqa: S608


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


async def consume_codes_of_user(user_id: UUID) -> int:
    """Consume the codes of a user. Returns their number, as do the functions after this one."""
    return await execute(_CONSUME_CODES_OF_USER, user_id)


async def consume_codes_of_client(client_id: str) -> int:
    return await execute(_CONSUME_CODES_OF_CLIENT, client_id)


async def consume_codes_of_consent(user_id: UUID, client_id: str) -> int:
    return await execute(_CONSUME_CODES_OF_CONSENT, user_id, client_id)


async def consume_codes_of_session(user_id: UUID, session_id: UUID) -> int:
    return await execute(_CONSUME_CODES_OF_SESSION, user_id, session_id)


async def consume_codes_of_sessions(sessions: Sequence[SessionKey]) -> int:
    return await execute(_CONSUME_CODES_OF_SESSIONS, *columns(sessions))


async def consume_all_codes() -> int:
    return await execute(_CONSUME_ALL_CODES)


async def revoke_families_of_user(user_id: UUID, reason: str) -> int:
    """Revoke the token families of a user. Returns their number, as do the functions after this one."""
    return await execute(_REVOKE_FAMILIES_OF_USER, reason, user_id)


async def revoke_families_of_client(client_id: str, reason: str) -> int:
    return await execute(_REVOKE_FAMILIES_OF_CLIENT, reason, client_id)


async def revoke_families_of_client_before(client_id: str, moment: datetime, reason: str) -> int:
    return await execute(_REVOKE_FAMILIES_OF_CLIENT_BEFORE, reason, client_id, moment)


async def revoke_families_of_consent(user_id: UUID, client_id: str, reason: str) -> int:
    return await execute(_REVOKE_FAMILIES_OF_CONSENT, reason, user_id, client_id)


async def revoke_families_of_session(user_id: UUID, session_id: UUID, reason: str) -> int:
    return await execute(_REVOKE_FAMILIES_OF_SESSION, reason, user_id, session_id)


async def revoke_families_of_upstream(upstream_id: str, reason: str) -> int:
    """Revoke the token families that may have come from a sign-in with an upstream."""
    return await execute(_REVOKE_FAMILIES_OF_UPSTREAM, reason, upstream_id, FEDERATED)


async def revoke_all_families(reason: str) -> int:
    return await execute(_REVOKE_ALL_FAMILIES, reason)


async def resources_of_user(user_id: UUID) -> list[str]:
    """Return the resources that live token families of a user are for; an empty name is this server."""
    return [row["resource"] for row in await fetch(_RESOURCES_OF_USER, user_id)]


async def resources_of_client(client_id: str) -> list[str]:
    """Return the resources that live token families of a client are for; an empty name is this server."""
    return [row["resource"] for row in await fetch(_RESOURCES_OF_CLIENT, client_id)]


async def knows_user(user_id: UUID, client_id: str) -> bool:
    """Return whether a client has a consent or a live token family of a user."""
    return await fetchrow(_KNOWS_USER, user_id, client_id) is not None


async def client_names_of_user(user_id: UUID) -> list[str]:
    """Return the names of the clients with a live token family of a user."""
    return sorted({shown_name(*row) for row in await fetch(_CLIENT_NAMES_OF_USER, user_id)})


class TokenUser(msgspec.Struct, frozen=True):
    """The user of a live access token.

    Attributes:
        row: the columns of the user, by name, for :func:`idp.accounts.claims.claims_of`.
        requested: the ``claims`` parameter of the family, as JSON.
        organization_id: the organization of the family.
    """

    row: Mapping[str, Any]
    requested: str | None
    organization_id: UUID | None

    @property
    def directory_version(self) -> int:
        """The version of the groups and roles of the user."""
        return int(self.row["directory_version"])


class TokenOfUser(NamedTuple):
    """An access token that was issued for a user.

    ``jti`` is followed by those of the tokens that it was exchanged for, separated by spaces: it ends with them.
    """

    user_id: UUID
    family_id: UUID
    jti: str


class LiveTokenState(msgspec.Struct, frozen=True):
    """What the claims of a live access token depend on.

    Attributes:
        directory_version: that of its user.
        organization_id: the organization of the family.
    """

    directory_version: int
    organization_id: UUID | None


class LiveSubject(msgspec.Struct, frozen=True, kw_only=True):
    """The token family of a live token, and what else its exchange depends on.

    Attributes:
        client_id: the client of the family. The token may be one that was exchanged by another client.
        is_admin: whether the user has a role at the admin API.
        session_lives: whether the session of the family lives. One with offline access outlives it.
    """

    client_id: str
    session_id: UUID | None
    organization_id: UUID | None
    scope: str
    resource: list[str]
    authorization_details: str | None
    directory_version: int
    is_admin: bool
    session_lives: bool


async def state_if_live(token: TokenOfUser) -> LiveTokenState | None:
    """Return what the claims of an access token depend on.

    None if the token or its family is revoked or has ended, or its user is disabled.
    """
    return one(LiveTokenState, await _LIVE_ACCESS_TOKEN.fetchrow(**token._asdict()))


async def user_of_live_access_token(token: TokenOfUser) -> TokenUser | None:
    """Return the user and the requested claims of an access token; None as of :func:`state_if_live`."""
    row = await _LIVE_ACCESS_TOKEN_WITH_USER.fetchrow(**token._asdict())
    return TokenUser(row, row["requested"], row["organization_id"]) if row else None


async def live_subject(token: TokenOfUser) -> LiveSubject | None:
    """Return what the exchange of a token depends on; None as of :func:`state_if_live`."""
    return one(LiveSubject, await _LIVE_SUBJECT.fetchrow(**token._asdict()))


async def is_enabled(user_id: UUID) -> bool:
    """Return whether a user exists and is enabled."""
    return await _ENABLED_USER.fetchrow(user_id=user_id) is not None


async def lock_live_access_token(token: TokenOfUser) -> bool:
    """Return whether an access token is live, as of :func:`state_if_live`. It stays so until the transaction ends."""
    return await fetchrow(_LOCK_ACCESS_TOKEN, *token) is not None


async def is_access_token_revoked(jti: str) -> bool:
    """Return whether an access token was revoked individually (RFC 7009)."""
    return await _IS_REVOKED.fetchrow(jti=jti) is not None


async def revoke_access_token(jti: str, expires_at: datetime) -> bool:
    """Revoke an access token. Returns False if it is already revoked."""
    return bool(await execute(_REVOKE_ACCESS_TOKEN, jti, expires_at))


class FamilyState(msgspec.Struct, frozen=True, kw_only=True):
    """Why a token family may yield no tokens."""

    family_id: UUID
    user_id: UUID
    client_id: str
    created_at: datetime
    revoked: bool
    revoked_reason: str | None
    family_expired: bool
    user_disabled: bool
    session_ended: bool
    not_member: bool


class RefreshTokenState(FamilyState, frozen=True, kw_only=True):
    """The state of a family and of one of its refresh tokens. ``expired`` is None if the token is unknown."""

    known: bool
    rotated: bool
    expired: bool | None


class AccessTokenState(FamilyState, frozen=True, kw_only=True):
    """The state of a family, and whether one of its access tokens was revoked individually."""

    token_revoked: bool


class CodeState(msgspec.Struct, frozen=True, kw_only=True):
    """Why an authorization code may be refused."""

    user_id: UUID
    client_id: str
    redirect_uri: str
    code_challenge: str | None
    confirmation: str | None
    created_at: datetime
    family_id: UUID | None
    consumed: bool
    expired: bool
    user_disabled: bool
    session_ended: bool
    not_member: bool


async def state_of_refresh_token(
    user_id: UUID, family_id: UUID, jti: UUID, token_hash: bytes
) -> RefreshTokenState | None:
    """Return the state of a refresh token; None if its family is unknown."""
    return one(RefreshTokenState, await fetchrow(_STATE_OF_REFRESH_TOKEN, user_id, family_id, jti, token_hash))


async def state_of_access_token(token: TokenOfUser) -> AccessTokenState | None:
    """Return the state of an access token; None if its family is unknown."""
    return one(AccessTokenState, await fetchrow(_STATE_OF_ACCESS_TOKEN, *token))


async def state_of_code(user_id: UUID, code_hash: bytes) -> CodeState | None:
    """Return the state of a code; None if it is unknown."""
    return one(CodeState, await fetchrow(_STATE_OF_CODE, user_id, code_hash))


# The list for administrators

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
