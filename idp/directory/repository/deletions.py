"""The statements on memberships of what was deleted, which are deleted in the background."""

from typing import Final, Literal, get_args
from uuid import UUID

import msgspec

from idp.infra.db.engine import execute, fetchrow
from idp.infra.db.rows import one

#: The tables whose rows have memberships.
Kind = Literal["groups", "role", "organization"]

_NOTE: Final = "INSERT INTO directory_deletion (id, kind, created_at) VALUES ($1, $2, now())"
_NOTE_ROLES_OF_CLIENT: Final = """
INSERT INTO directory_deletion (id, kind, created_at) SELECT id, 'role', now() FROM role WHERE client_id = $1 FOR UPDATE
"""
# One process works on a deletion at a time.
_NEXT: Final = "SELECT id, kind FROM directory_deletion ORDER BY created_at, id LIMIT 1 FOR UPDATE SKIP LOCKED"
_END: Final = "DELETE FROM directory_deletion WHERE id = $1"


def _batch(table: str, column: str) -> str:
    # In one order, and without those that a deletion of their user holds: nothing waits for a batch, or it for another.
    # MATERIALIZED: a subquery could be read again for each row, each time up to the limit.
    return f"""
    WITH found AS MATERIALIZED (
        SELECT user_id FROM {table} WHERE {column} = $1 ORDER BY user_id LIMIT $2 FOR UPDATE SKIP LOCKED
    )
    DELETE FROM {table} AS m USING found WHERE m.user_id = found.user_id AND m.{column} = $1
    """  # noqa: S608


# Roles in an organization, and what its SCIM clients call a member, go with the membership.
_BATCHES: Final[dict[str, str]] = {
    "groups": _batch("group_member", "group_id"),
    "role": _batch("user_role", "role_id"),
    "organization": _batch("organization_member", "organization_id"),
}
_LEFT: Final[dict[str, str]] = {
    "groups": "SELECT FROM group_member WHERE group_id = $1 LIMIT 1",
    "role": "SELECT FROM user_role WHERE role_id = $1 LIMIT 1",
    "organization": "SELECT FROM organization_member WHERE organization_id = $1 LIMIT 1",
}
assert _BATCHES.keys() == _LEFT.keys() == set(get_args(Kind))  # noqa: S101


class Deletion(msgspec.Struct, frozen=True):
    """Something that is deleted, whose memberships are not yet."""

    id: UUID
    kind: str


async def note(id: UUID, kind: Kind) -> None:
    """Note that something was deleted, in the transaction that deletes it. It is locked against new memberships."""
    await execute(_NOTE, id, kind)


async def note_roles_of_client(client_id: str) -> None:
    """As :func:`note`, for the roles of a client, before a foreign key deletes them with it."""
    await execute(_NOTE_ROLES_OF_CLIENT, client_id)


async def next_deletion() -> Deletion | None:
    """Return the oldest deletion on which no other process works, locked until the end of the transaction."""
    return one(Deletion, await fetchrow(_NEXT))


async def delete_some(deletion: Deletion, limit: int) -> int:
    """Delete some memberships of what was deleted. Returns how many."""
    return await execute(_BATCHES[deletion.kind], deletion.id, limit)


async def is_left(deletion: Deletion) -> bool:
    """Return whether memberships are left."""
    return await fetchrow(_LEFT[deletion.kind], deletion.id) is not None


async def end(deletion: Deletion) -> None:
    """Forget a deletion, of which nothing is left."""
    await execute(_END, deletion.id)
