"""Roles, groups and organizations of a realm."""

import re
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any, Final, NamedTuple

from idp.config.kinds.base import RoleName
from idp.directory import names
from idp.migration.keycloak.representations import Composites, Group, Realm, Role
from idp.migration.models import Export

#: Roles of the realm that Keycloak makes for itself.
_BUILT_IN: Final = frozenset({"offline_access", "uma_authorization"})


class Directory(NamedTuple):
    """What is translated: roles, names of groups by their paths, and slugs of organizations by names of users."""

    roles: Collection[RoleName]
    groups: dict[str, str]
    organizations: dict[str, list[str]]


def translate(export: Export, realm: Realm, role_owners: Collection[str]) -> Directory:
    """Add roles, groups and organizations.

    Args:
        role_owners: the clients that can have roles.
    """
    roles = _roles(export, realm, role_owners)
    return Directory(roles, _groups(export, realm, roles), _organizations(export, realm))


def _roles(export: Export, realm: Realm, owners: Collection[str]) -> set[RoleName]:
    default = f"default-roles-{realm.realm.lower()}"
    given = {RoleName(name=role.name): role for role in realm.roles.realm if role.name not in _BUILT_IN}
    given |= {
        RoleName(name=role.name, client_id=owner): role
        for owner, roles in realm.roles.client.items()
        if owner in owners
        for role in roles
    }
    # Only if it gives what is not Keycloak's own.
    ours = given.get(RoleName(name=default))
    if ours is not None and not any(one in given for one in named(ours.composites)):
        del given[RoleName(name=default)]
    for name, role in given.items():
        export.add("roles", _role(name, role, given.keys()))
    return set(given)


def _role(name: RoleName, role: Role, known: Collection[RoleName]) -> dict[str, Any]:
    description = "" if "${" in role.description else role.description
    return {
        "name": name.name,
        "client_id": name.client_id,
        "description": " ".join(description.split())[: names.MAX_DESCRIPTION],
        "contains": [written(one) for one in named(role.composites) if one in known],
    }


def named(given: Composites) -> list[RoleName]:
    """Return roles by their names."""
    client = [RoleName(name=name, client_id=owner) for owner, found in given.client.items() for name in found]
    return [*(RoleName(name=name) for name in given.realm), *client]


def written(role: RoleName) -> dict[str, str]:
    """Return a role as a file has it."""
    return {"name": role.name} | ({"client_id": role.client_id} if role.client_id is not None else {})


def _groups(export: Export, realm: Realm, known: Collection[RoleName]) -> dict[str, str]:
    """Returns the names of groups here by their paths. Where two have the same name, they are named by the path."""
    tree = [found for group in realm.groups for found in _below(group, "", None)]
    count = Counter(names.key(group.name) for _path, group, _parent in tree)
    here = {
        path: group.name if count[names.key(group.name)] == 1 else path.removeprefix("/") for path, group, _ in tree
    }
    for path, group, parent in tree:
        what = f"group {path}"
        if here[path] != group.name:
            export.change(what, f"Its name is {here[path]}, because another group has the same one.")
        if group.attributes:
            export.skip(what, f"Groups have no attributes: {', '.join(sorted(group.attributes))}.")
        roles = named(Composites(realm=group.realm_roles, client=group.client_roles))
        kept = [written(role) for role in roles if role in known]
        export.add("groups", {"name": here[path], "parent": here.get(parent or ""), "roles": kept})
    return here


def _below(group: Group, above: str, parent: str | None) -> Iterator[tuple[str, Group, str | None]]:
    """Return a group and those in it, each with its path and the path of the group that it is in."""
    path = f"{above}/{group.name}"
    yield path, group, parent
    for each in group.sub_groups:
        yield from _below(each, path, path)


def _organizations(export: Export, realm: Realm) -> dict[str, list[str]]:
    """Returns the slugs of the organizations of users, by the names of the users."""
    members: dict[str, list[str]] = {}
    for each in realm.organizations:
        slug = slugged(each.alias or each.name)
        domains = [domain.name for domain in each.domains]
        entry = {"slug": slug, "name": each.name, "disabled": not each.enabled, "domains": domains}
        export.add("organizations", entry)
        if domains:
            export.todo(f"organization {slug}", "Its domains must be verified here: idp organizations verify-domain.")
        for member in each.members:
            members.setdefault(member.username, []).append(slug)
    return members


def slugged(name: str) -> str:
    """Return a name as a slug."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63].strip("-")
