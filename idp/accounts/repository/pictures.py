"""The statements on uploaded pictures of users."""

from uuid import UUID

import msgspec

from idp.infra.db.engine import execute, fetchrow
from idp.infra.db.rows import one

_SAVE = """
    INSERT INTO user_picture (user_id, media_type, content, updated_at) VALUES ($1, $2, $3, now())
    ON CONFLICT (user_id) DO UPDATE
    SET media_type = excluded.media_type, content = excluded.content, updated_at = excluded.updated_at
"""
_FIND = "SELECT media_type, content FROM user_picture WHERE user_id = $1"
_FIND_SERVED = """
    SELECT p.media_type, p.content FROM user_picture AS p JOIN users AS u ON u.id = p.user_id
    WHERE p.user_id = $1 AND u.disabled_at IS NULL
"""
_DELETE = "DELETE FROM user_picture WHERE user_id = $1"


class StoredPicture(msgspec.Struct, frozen=True):
    """An uploaded picture."""

    media_type: str
    content: bytes


async def save_picture(user_id: UUID, media_type: str, content: bytes) -> None:
    """Store the picture of a user in place of the one before."""
    await execute(_SAVE, user_id, media_type, content)


async def find_picture(user_id: UUID) -> StoredPicture | None:
    """Return the picture of a user, if there is one."""
    return one(StoredPicture, await fetchrow(_FIND, user_id))


async def find_served_picture(user_id: UUID) -> StoredPicture | None:
    """Return the picture of a user, unless the user is disabled."""
    return one(StoredPicture, await fetchrow(_FIND_SERVED, user_id))


async def delete_picture(user_id: UUID) -> bool:
    """Delete the picture of a user. Returns whether there was one."""
    return bool(await execute(_DELETE, user_id))
