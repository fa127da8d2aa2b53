"""Finding what entries name: groups, roles and organizations by their names."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from idp.config.errors import UnknownNameError
from idp.config.kinds.base import RoleName
from idp.directory import names
from idp.directory.models import Group, Organization, Role
from idp.directory.repository import groups, organizations, roles
from idp.directory.repository.groups import GROUPS
from idp.directory.repository.organizations import ORGANIZATIONS
from idp.directory.repository.roles import ROLES
from idp.infra.db.listing import all_rows
from idp.oauth.clients.repository import clients


async def group_named(name: str) -> Group:
    """Return a group.

    Raises:
        UnknownNameError: there is no such group.
    """
    found = await groups.group_by_name(names.key(name))
    if found is None:
        raise UnknownNameError(f"There is no group {name}.")
    return found


async def role_named(role: RoleName, organization_id: UUID | None = None) -> Role:
    """Return a role, of an organization if one is given.

    Raises:
        UnknownNameError: there is no such role.
    """
    found = await roles.role_by_name(role.client_id, names.key(role.name), organization_id)
    if found is None:
        of = f" of the client {role.client_id}" if role.client_id is not None else ""
        raise UnknownNameError(f"There is no role {role.name}{of}.")
    return found


async def organization_named(slug: str) -> Organization:
    """Return an organization.

    Raises:
        UnknownNameError: there is no such organization.
    """
    found = await organizations.organization_by_slug(slug)
    if found is None:
        raise UnknownNameError(f"There is no organization {slug}.")
    return found


async def registered_clients() -> set[str]:
    """Return the clients that an administrator registered. What belongs to others is no configuration."""
    return {client.client_id for client in await clients() if client.origin == "admin"}


async def group_names() -> Mapping[UUID, str]:
    """Return the names of all groups."""
    return {row["id"]: row["name"] for row in await all_rows(GROUPS)}


async def slugs() -> Mapping[UUID, str]:
    """Return the slugs of all organizations."""
    return {row["id"]: row["slug"] for row in await all_rows(ORGANIZATIONS)}


async def role_names() -> Mapping[UUID, RoleName]:
    """Return the names of all roles."""
    return {row["id"]: RoleName(name=row["name"], client_id=row["client_id"]) for row in await all_rows(ROLES)}


def sorted_roles(given: Iterable[RoleName]) -> tuple[RoleName, ...]:
    """Return roles in the order of files, each once."""
    return tuple(sorted(set(given), key=lambda role: (role.client_id or "", role.name)))
