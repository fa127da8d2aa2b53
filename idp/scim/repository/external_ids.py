"""The statements on the ids that SCIM clients gave users and groups, members and roles."""

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
_SET_OF_MEMBER = """
INSERT INTO scim_member (user_id, organization_id, origin, external_id) VALUES ($1, $2, $3, $4)
ON CONFLICT (user_id, organization_id, origin) DO UPDATE SET external_id = EXCLUDED.external_id
"""
_SET_OF_ROLE = """
INSERT INTO scim_role (role_id, origin, external_id) VALUES ($1, $2, $3)
ON CONFLICT (role_id, origin) DO UPDATE SET external_id = EXCLUDED.external_id
"""
_REMOVE_OF_MEMBER = "DELETE FROM scim_member WHERE user_id = $1 AND organization_id = $2 AND origin = $3"
_REMOVE_OF_ROLE = "DELETE FROM scim_role WHERE role_id = $1 AND origin = $2"
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


async def set_of_member(user_id: UUID, organization_id: UUID, origin: str, external_id: str | None) -> None:
    """Set or remove the ``externalId`` of a member at a client of the organization."""
    if external_id is None:
        await execute(_REMOVE_OF_MEMBER, user_id, organization_id, origin)
    else:
        await execute(_SET_OF_MEMBER, user_id, organization_id, origin, external_id)


async def set_of_role(role_id: UUID, origin: str, external_id: str | None) -> None:
    """Set or remove the ``externalId`` of a role of an organization at a client of it."""
    if external_id is None:
        await execute(_REMOVE_OF_ROLE, role_id, origin)
    else:
        await execute(_SET_OF_ROLE, role_id, origin, external_id)
