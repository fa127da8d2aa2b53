"""The statements on the ids that SCIM clients gave users and groups."""

from uuid import UUID

from idp.infra.db.engine import execute

_SET_OF_USER = """
INSERT INTO scim_user (user_id, origin, external_id) VALUES ($1, $2, $3)
ON CONFLICT (user_id, origin) DO UPDATE SET external_id = EXCLUDED.external_id
"""
_SET_OF_GROUP = """
INSERT INTO scim_group (group_id, origin, external_id) VALUES ($1, $2, $3)
ON CONFLICT (group_id, origin) DO UPDATE SET external_id = EXCLUDED.external_id
"""
_REMOVE_OF_USER = "DELETE FROM scim_user WHERE user_id = $1 AND origin = $2"
_REMOVE_OF_GROUP = "DELETE FROM scim_group WHERE group_id = $1 AND origin = $2"


async def set_of_user(user_id: UUID, origin: str, external_id: str | None) -> None:
    """Set or remove the ``externalId`` of a user at a client."""
    if external_id is None:
        await execute(_REMOVE_OF_USER, user_id, origin)
    else:
        await execute(_SET_OF_USER, user_id, origin, external_id)


async def set_of_group(group_id: UUID, origin: str, external_id: str | None) -> None:
    """Set or remove the ``externalId`` of a group at a client."""
    if external_id is None:
        await execute(_REMOVE_OF_GROUP, group_id, origin)
    else:
        await execute(_SET_OF_GROUP, group_id, origin, external_id)
