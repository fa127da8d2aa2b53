"""The statements that revoke token families and consume codes, and those on live families.

Redemption and rotation are in :mod:`idp.oauth.token.repository`, the issue of codes in
:mod:`idp.oauth.authorize.repository`.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from idp.directory.repository.organizations import is_member
from idp.directory.repository.sign_in_policies import SignInColumns
from idp.infra.db.engine import execute, fetch
from idp.oauth.clients.documents.identifiers import shown_name
from idp.signin.repository.sessions import SessionKey, columns
from idp.signin.transitions import FEDERATED

_CONSUME_ALL_CODES = "UPDATE authorization_code SET consumed_at = now() WHERE consumed_at IS NULL"
_CONSUME_CODES_OF_USER = f"{_CONSUME_ALL_CODES} AND user_id = $1"
_CONSUME_CODES_OF_CLIENT = f"{_CONSUME_ALL_CODES} AND client_id = $1"
_CONSUME_CODES_OF_CONSENT = f"{_CONSUME_ALL_CODES} AND user_id = $1 AND client_id = $2"
_CONSUME_CODES_OF_SESSION = f"{_CONSUME_ALL_CODES} AND user_id = $1 AND session_id = $2"
_CONSUME_CODES_IN_ORGANIZATION = f"{_CONSUME_ALL_CODES} AND user_id = $1 AND organization_id = $2"
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
_REVOKE_FAMILIES_IN_ORGANIZATION = f"{_REVOKE_ALL_FAMILIES} AND user_id = $2 AND organization_id = $3"
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
_GRANTED_SCOPES = f"""
SELECT split_part(unnest(pairs), ' ', 1) AS scope FROM consent WHERE user_id = $1 AND client_id = $2
UNION SELECT unnest(string_to_array(f.scope, ' ')) FROM token_family AS f
WHERE user_id = $1 AND client_id = $2 AND {_LIVE_FAMILY}
"""  # noqa: S608
_CLIENT_NAMES_OF_USER = f"""
SELECT DISTINCT c.client_id, c.metadata ->> 'client_name' AS client_name
FROM token_family AS f JOIN client AS c USING (client_id)
WHERE f.user_id = $1 AND {_LIVE_FAMILY} ORDER BY 1
"""  # noqa: S608


#: When a refresh token ``r`` was used last; of one that is rotated, when it was issued.
LAST_USED = "coalesce(r.used_at, r.issued_at)"


def live_family_of_user(user_id: str, last_used: str | None = None) -> str:
    """Return the SQL condition that a family ``f`` of a user ``u`` still yields tokens: neither the family, nor the
    user, nor (without offline access) the session has ended, and the user is a member of its organization.

    Args:
        user_id: the id of the user, as SQL, which is compared in each table (docs/decisions/0048-keys-by-person.md).
        last_used: the time at which the family was used last, as SQL, for new tokens: its sign-in must meet the policy
            of the organization.
    """
    sign_in = SignInColumns.of("f", last_used) if last_used is not None else None
    return f"""
    f.user_id = {user_id} AND f.revoked_at IS NULL AND f.expires_at > now()
    AND u.id = {user_id} AND u.disabled_at IS NULL
    AND (f.offline_access OR EXISTS (
        SELECT FROM session AS s
        WHERE s.user_id = {user_id} AND s.id = f.session_id AND s.ended_at IS NULL AND s.expires_at > now()))
    AND (f.organization_id IS NULL OR {is_member(user_id, "f.organization_id", sign_in)})
    """


async def consume_codes_of_user(user_id: UUID) -> int:
    """Consume the codes of a user. Returns their number, as do the functions after this one."""
    return await execute(_CONSUME_CODES_OF_USER, user_id)


async def consume_codes_of_client(client_id: str) -> int:
    return await execute(_CONSUME_CODES_OF_CLIENT, client_id)


async def consume_codes_of_consent(user_id: UUID, client_id: str) -> int:
    return await execute(_CONSUME_CODES_OF_CONSENT, user_id, client_id)


async def consume_codes_in_organization(user_id: UUID, organization_id: UUID) -> int:
    return await execute(_CONSUME_CODES_IN_ORGANIZATION, user_id, organization_id)


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


async def revoke_families_in_organization(user_id: UUID, organization_id: UUID, reason: str) -> int:
    return await execute(_REVOKE_FAMILIES_IN_ORGANIZATION, reason, user_id, organization_id)


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


async def granted_scopes(user_id: UUID, client_id: str) -> set[str]:
    """Return the scopes of the consent and the live token families that a client has of a user."""
    return {row["scope"] for row in await fetch(_GRANTED_SCOPES, user_id, client_id)}


async def client_names_of_user(user_id: UUID) -> list[str]:
    """Return the names of the clients with a live token family of a user."""
    return sorted({shown_name(*row) for row in await fetch(_CLIENT_NAMES_OF_USER, user_id)})
