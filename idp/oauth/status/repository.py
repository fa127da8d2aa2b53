"""The statements of the revocation list."""

from datetime import datetime
from uuid import UUID

import msgspec

from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.expiring import Expiring
from idp.infra.db.rows import many
from idp.oauth.status.tables import Tombstone

EXPIRING = (Expiring(Tombstone, "1 day"),)

# As in idp.oauth.token.access_token.family_jti.
_FAMILY = "translate(rtrim(encode(uuid_send(f.id), 'base64'), '='), '+/', '-_')"
# By the index for each session: OFFSET keeps PostgreSQL from joining all families.
_FAMILIES_OF_SESSION = """LATERAL (
    SELECT id, created_at FROM token_family
    WHERE user_id = s.user_id AND session_id = s.id AND NOT offline_access OFFSET 0)"""
# A family that began before the time not-before of all has no token that is not refused by that time.
# $1 seconds  $2 not-before of all, if any
_REVOKED = f"""
WITH family AS (
    SELECT id, created_at FROM token_family WHERE revoked_at > now() - make_interval(secs => $1)
    UNION
    SELECT id, created_at FROM token_family
    WHERE expires_at > now() - make_interval(secs => $1) AND expires_at <= now()
    UNION
    SELECT f.id, f.created_at FROM session AS s, {_FAMILIES_OF_SESSION} AS f
    WHERE s.ended_at > now() - make_interval(secs => $1)
    UNION
    SELECT f.id, f.created_at FROM session AS s, {_FAMILIES_OF_SESSION} AS f
    WHERE s.expires_at > now() - make_interval(secs => $1) AND s.expires_at <= now()
), revoked AS (
    SELECT {_FAMILY} AS id FROM family AS f WHERE f.created_at >= coalesce($2::timestamptz, '-infinity')
    UNION
    SELECT jti FROM revoked_access_token WHERE expires_at > now()
    UNION
    SELECT id FROM tombstone WHERE expires_at > now()
    UNION
    SELECT client_id FROM client WHERE disabled_at > now() - make_interval(secs => $1)
), digests AS (
    SELECT substr(sha256(convert_to(id, 'UTF8')), 1, 8) AS digest FROM revoked
)
SELECT coalesce(string_agg(digest, ''::bytea ORDER BY digest), ''::bytea) AS digests FROM digests
"""  # noqa: S608
_CLIENTS_WITH_NOT_BEFORE = """
SELECT client_id, not_before FROM client WHERE not_before > now() - make_interval(secs => $1)
"""
# A family that ended earlier has no access token that is still valid. $2 seconds
_RECENT = """f.expires_at > now() - make_interval(secs => $2)
    AND (f.revoked_at IS NULL OR f.revoked_at > now() - make_interval(secs => $2))"""
# $1 client_id  $2 seconds
_BURY_CLIENT = """
INSERT INTO tombstone (id, expires_at) VALUES ($1, now() + make_interval(secs => $2))
ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at
"""
# $1 user_id  $2 seconds
_BURY_FAMILIES_OF_USER = f"""
INSERT INTO tombstone (id, expires_at)
SELECT {_FAMILY}, now() + make_interval(secs => $2) FROM token_family AS f WHERE f.user_id = $1 AND {_RECENT}
ON CONFLICT DO NOTHING
"""  # noqa: S608

# Other clients may have got tokens in exchange for its tokens. $1 client_id  $2 seconds
_BURY_FAMILIES_OF_CLIENT = f"""
INSERT INTO tombstone (id, expires_at)
SELECT {_FAMILY}, now() + make_interval(secs => $2) FROM token_family AS f WHERE f.client_id = $1 AND {_RECENT}
ON CONFLICT DO NOTHING
"""  # noqa: S608


class ClientNotBefore(msgspec.Struct, frozen=True):
    """A client whose tokens are refused if they were issued earlier."""

    client_id: str
    not_before: datetime


async def revoked(seconds: float, not_before: datetime | None) -> bytes:
    """Return what was revoked, ended or deleted within so many seconds.

    Args:
        seconds: the greatest age of an access token that may still be valid offline.
        not_before: access tokens that were issued earlier are left out.

    Returns:
        the first 8 bytes of the SHA-256 of each id, in ascending order. An id is a ``jti``, its first part, or a
        ``client_id``.
    """
    row = await fetchrow(_REVOKED, seconds, not_before)
    assert row is not None  # noqa: S101 -- an aggregate has one row
    return bytes(row["digests"])


async def clients_with_not_before(seconds: float) -> list[ClientNotBefore]:
    """Return the clients with a time not-before within so many seconds."""
    return many(ClientNotBefore, await fetch(_CLIENTS_WITH_NOT_BEFORE, seconds))


async def bury_client(client_id: str, seconds: float) -> None:
    """Keep a client that is deleted and its token families, for so many seconds, in the transaction of the deletion."""
    await execute(_BURY_CLIENT, client_id, seconds)
    await execute(_BURY_FAMILIES_OF_CLIENT, client_id, seconds)


async def bury_families_of_user(user_id: UUID, seconds: float) -> None:
    """Keep the token families of a user who is deleted, for so many seconds, in the transaction of the deletion."""
    await execute(_BURY_FAMILIES_OF_USER, user_id, seconds)
