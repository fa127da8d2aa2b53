"""The statements on brandings and their pictures."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from idp.branding.models import Branding, Owner, Picture, Version
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.rows import known

_OF = {
    "server": "client_id IS NULL AND organization_id IS NULL AND $1::text IS NULL",
    "client": "client_id = $1",
    "organization": "organization_id = $1",
}
_COLUMNS = "id, document, actor, created_at, replaced_at"
_CURRENT, _HISTORY, _VERSION, _REPLACE, _PRUNE, _PICTURE_OF = (
    {kind: text.format(columns=_COLUMNS, owner=owner) for kind, owner in _OF.items()}
    for text in (
        "SELECT {columns} FROM branding_version WHERE {owner} AND replaced_at IS NULL",
        "SELECT {columns} FROM branding_version WHERE {owner} ORDER BY id DESC",
        "SELECT {columns} FROM branding_version WHERE {owner} AND id = $2",
        "UPDATE branding_version SET replaced_at = clock_timestamp() WHERE {owner} AND replaced_at IS NULL",
        """
        DELETE FROM branding_version WHERE id IN (
            SELECT id FROM branding_version WHERE {owner} ORDER BY id DESC OFFSET $2::integer
        )
        """,
        "SELECT FROM branding_version WHERE {owner} AND pictures @> ARRAY[$2::text] LIMIT 1",
    )
)
_IN_MEMORY = """
SELECT client_id, document FROM branding_version
WHERE organization_id IS NULL AND replaced_at IS NULL AND document IS NOT NULL
"""
_ALL = """
SELECT client_id, organization_id, document FROM branding_version
WHERE replaced_at IS NULL AND document IS NOT NULL ORDER BY client_id, organization_id
"""
_INSERT = """
INSERT INTO branding_version (id, client_id, organization_id, document, pictures, actor, created_at)
VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp())
"""
_SAVE_PICTURE = """
INSERT INTO branding_picture (sha256, media_type, content) VALUES ($1, $2, $3) ON CONFLICT (sha256) DO NOTHING
"""
_SHOWN_BY = """
SELECT DISTINCT client_id, organization_id FROM branding_version
WHERE pictures @> ARRAY[$1::text] AND replaced_at IS NULL
"""
_PICTURES = "SELECT sha256, content, media_type FROM branding_picture WHERE sha256 = ANY($1)"
_DELETE_UNUSED_PICTURES = """
DELETE FROM branding_picture AS p
WHERE NOT EXISTS (SELECT FROM branding_version AS v WHERE v.pictures @> ARRAY[p.sha256])
"""


def _key(owner: Owner) -> Any:
    return owner.organization_id or owner.client_id


def _decoded(document: str | None) -> Branding | None:
    return msgspec.json.decode(document, type=Branding) if document is not None else None


def _version(row: Mapping[str, Any]) -> Version:
    values = {name: row[name] for name in ("id", "actor", "created_at", "replaced_at")}
    return Version(branding=_decoded(row["document"]), **values)


async def current(owner: Owner) -> Version | None:
    row = await fetchrow(_CURRENT[owner.kind], _key(owner))
    return _version(row) if row is not None else None


async def history(owner: Owner) -> list[Version]:
    """Return the kept versions, the newest first."""
    return known(_version, await fetch(_HISTORY[owner.kind], _key(owner)), "branding_version")


async def version(owner: Owner, id: UUID) -> Version | None:
    row = await fetchrow(_VERSION[owner.kind], _key(owner), id)
    return _version(row) if row is not None else None


async def in_memory() -> dict[str | None, Branding]:
    """Return the brandings of clients by id, and that of the server, whose key is None."""
    rows = await fetch(_IN_MEMORY)
    found = known(lambda row: (row["client_id"], _decoded(row["document"])), rows, "branding_version")
    return {client_id: branding for client_id, branding in found if branding is not None}


async def all_of_them() -> list[tuple[Owner, Branding]]:
    """Return every branding with its owner."""
    read = [(Owner(row["client_id"], row["organization_id"]), _decoded(row["document"])) for row in await fetch(_ALL)]
    return [(owner, branding) for owner, branding in read if branding is not None]


async def insert(id: UUID, owner: Owner, branding: Branding | None, actor: str, *, kept: int) -> None:
    """Insert the current version, in the transaction of :func:`idp.infra.db.cache_invalidation.exclusive_change`.

    Args:
        kept: the number of versions that are kept.

    Raises:
        asyncpg.ForeignKeyViolationError: there is no such client or organization.
    """
    await execute(_REPLACE[owner.kind], _key(owner))
    document = msgspec.json.encode(branding).decode() if branding is not None else None
    pictures = branding.pictures if branding is not None else []
    await execute(_INSERT, id, owner.client_id, owner.organization_id, document, pictures, actor)
    await execute(_PRUNE[owner.kind], _key(owner), kept)
    await execute(_DELETE_UNUSED_PICTURES)


async def save_picture(sha256: str, picture: Picture) -> None:
    await execute(_SAVE_PICTURE, sha256, picture.media_type, picture.content)


async def has_picture(owner: Owner, sha256: str) -> bool:
    """Return whether a kept version of this owner refers to a picture."""
    return await fetchrow(_PICTURE_OF[owner.kind], _key(owner), sha256) is not None


async def shown_by(sha256: str) -> list[Owner]:
    """Return the owners whose current branding refers to a picture."""
    return [Owner(row["client_id"], row["organization_id"]) for row in await fetch(_SHOWN_BY, sha256)]


async def pictures(hashes: list[str]) -> dict[str, Picture]:
    return {row["sha256"]: Picture(row["content"], row["media_type"]) for row in await fetch(_PICTURES, hashes)}
