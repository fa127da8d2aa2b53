"""The statements on the tokens of SCIM clients."""

from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from idp.directory.errors import UnknownOrganizationError
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import many, one

_INSERT = """
INSERT INTO scim_token (id, organization_id, name, writes, token_hash, expires_at, created_at, updated_at)
SELECT $1, $6::uuid, $2, $3, $4, now() + $5 * interval '1 s', now(), now()
WHERE $6::uuid IS NULL OR (SELECT count(*) FROM scim_token WHERE organization_id = $6) < $7
"""
_LIVE = """
    (token_hash = $1 AND expires_at > now() OR old_token_hash = $1 AND old_expires_at > now())
    AND (organization_id IS NULL
         OR EXISTS (SELECT FROM organization AS o WHERE o.id = organization_id AND o.disabled_at IS NULL))
"""
_FIND = f"""
SELECT id, organization_id, name, writes, last_used_at IS NULL OR last_used_at < now() - interval '1 min' AS unmarked
FROM scim_token WHERE {_LIVE}
"""  # noqa: S608
_MARK = "UPDATE scim_token SET last_used_at = now() WHERE id = $1"
# A rotation and a deletion wait for the transaction, the mark of its use does not.
_HOLD = f"SELECT FROM scim_token WHERE {_LIVE} AND id = $2 FOR KEY SHARE"
# $2 hash of the new value  $3 its lifetime  $4 seconds for which the value before stays valid  $5 the organization
_ROTATE = """
UPDATE scim_token SET
    old_token_hash = CASE WHEN $4 > 0 THEN token_hash END,
    old_expires_at = CASE WHEN $4 > 0 THEN least(expires_at, t.old_ends_at) END,
    token_hash = $2, expires_at = now() + $3 * interval '1 s', updated_at = now()
FROM (SELECT now() + $4 * interval '1 s' AS old_ends_at) AS t
WHERE id = $1 AND ($5::uuid IS NULL OR organization_id = $5) RETURNING name, organization_id
"""
_DELETE = """
DELETE FROM scim_token WHERE id = $1 AND ($2::uuid IS NULL OR organization_id = $2) RETURNING name, organization_id
"""
_FORGET_USERS = "DELETE FROM scim_user WHERE origin = $1"
_FORGET_GROUPS = "DELETE FROM scim_group WHERE origin = $1"
_FORGET_MEMBERS = "DELETE FROM scim_member WHERE origin = $1"
_FORGET_ROLES = "DELETE FROM scim_role WHERE origin = $1"
_COLUMNS = (
    "t.id, t.organization_id, o.slug AS organization, t.name, t.writes, t.expires_at, t.old_expires_at, t.last_used_at,"
    " t.created_at, t.updated_at"
)
_SOURCE = "scim_token AS t LEFT JOIN organization AS o ON o.id = t.organization_id"
_ALL = f"SELECT {_COLUMNS} FROM {_SOURCE} ORDER BY t.id"  # noqa: S608


class LiveToken(msgspec.Struct, frozen=True):
    """A token that is valid now.

    Attributes:
        unmarked: whether its use was not marked within the last minute.
    """

    id: UUID
    organization_id: UUID | None
    name: str
    writes: bool
    unmarked: bool


class StoredToken(msgspec.Struct, frozen=True):
    """A token without its value. ``organization`` is the slug."""

    id: UUID
    organization_id: UUID | None
    organization: str | None
    name: str
    writes: bool
    expires_at: datetime
    old_expires_at: datetime | None
    last_used_at: datetime | None
    created_at: datetime
    updated_at: datetime


class TokenName(msgspec.Struct, frozen=True):
    """The name of a token, and its organization."""

    name: str
    organization_id: UUID | None


async def insert_token(
    id: UUID,
    name: str,
    token_hash: bytes,
    *,
    writes: bool,
    lifetime: int,
    organization_id: UUID | None,
    maximum: int,
) -> bool:
    """Insert a token that expires after ``lifetime`` seconds. Returns False if the organization has ``maximum``.

    Raises:
        UnknownOrganizationError: there is no such organization. The transaction cannot continue.
    """
    try:
        return bool(await execute(_INSERT, id, name, writes, token_hash, lifetime, organization_id, maximum))
    except asyncpg.ForeignKeyViolationError as error:
        raise UnknownOrganizationError from error


async def find_token(token_hash: bytes) -> LiveToken | None:
    """Return the token with this value, new or old, if it is valid."""
    return one(LiveToken, await fetchrow(_FIND, token_hash))


async def mark_use(id: UUID) -> None:
    """Note that a token is used now."""
    await execute(_MARK, id)


async def hold_token(token_hash: bytes, id: UUID) -> bool:
    """Return whether a token is still valid, and keep it so until the end of the transaction."""
    return await fetchrow(_HOLD, token_hash, id) is not None


async def rotate_token(
    id: UUID, token_hash: bytes, lifetime: int, overlap: int, organization_id: UUID | None
) -> TokenName | None:
    """Replace the value of a token. The one before stays valid for ``overlap`` seconds, any older one ends.

    Args:
        organization_id: only a token of this organization; None: any token.

    Returns:
        None if there is no such token.
    """
    return one(TokenName, await fetchrow(_ROTATE, id, token_hash, lifetime, overlap, organization_id))


async def delete_token(id: UUID, origin: str, organization_id: UUID | None) -> TokenName | None:
    """Delete a token, with the ids that its client gave. Returns None if there is no such token.

    Args:
        organization_id: as of :func:`rotate_token`.
    """
    deleted = one(TokenName, await fetchrow(_DELETE, id, organization_id))
    if deleted is None:
        return None
    await execute(_FORGET_USERS, origin)
    await execute(_FORGET_GROUPS, origin)
    await execute(_FORGET_MEMBERS, origin)
    await execute(_FORGET_ROLES, origin)
    return deleted


async def tokens() -> list[StoredToken]:
    """Return all tokens, the newest last."""
    return many(StoredToken, await fetch(_ALL))


#: For administrators.
SCIM_TOKENS = Listing(
    source=_SOURCE,
    columns=_COLUMNS,
    key=Sort("t.id", "uuid"),
    sorts={"created_at": Sort("t.created_at")},
    default_sort="-created_at",
    filters={
        "id": Filter("t.id = {}", "uuid", "One token."),
        "organization_id": Filter("t.organization_id = {}", "uuid", "Of one organization."),
    },
)
