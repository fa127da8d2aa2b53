"""Roles and groups."""

from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

import msgspec

from idp.config.kinds.base import Identity, Kind, RoleName
from idp.config.kinds.lookups import group_named, organization_named, role_named, role_names, slugs, sorted_roles
from idp.directory import groups, names, roles
from idp.directory.effective import TOPIC
from idp.directory.models import Role
from idp.directory.repository.groups import GROUPS, count_members, roles_of_groups
from idp.directory.repository.roles import ROLES, contained_pairs, count_holders
from idp.infra.db.listing import all_rows


class RoleEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A role of a client or of an organization; without either, of the whole server.

    Attributes:
        organization: the slug.
        contains: who has the role has these too.
    """

    name: str
    client_id: str | None = None
    organization: str | None = None
    description: str = ""
    contains: tuple[RoleName, ...] = ()


class Roles(Kind):
    """Roles of the server, of clients and of organizations. Holders are no configuration."""

    section = "roles"
    model = RoleEntry
    key = ("name", "client_id", "organization")
    topics = (TOPIC,)

    def identity(self, entry: RoleEntry) -> Identity:
        return names.key(entry.name), entry.client_id, entry.organization

    async def read(self) -> list[RoleEntry]:
        rows = {row["id"]: row for row in await all_rows(ROLES)}
        known, owners = await role_names(), await slugs()
        contained: dict[UUID, list[RoleName]] = {}
        for role_id, contained_id in await contained_pairs():
            contained.setdefault(role_id, []).append(known[contained_id])
        return [
            RoleEntry(
                name=row["name"],
                client_id=row["client_id"],
                organization=owners.get(row["organization_id"]),
                description=row["description"],
                contains=sorted_roles(contained.get(role_id, ())),
            )
            for role_id, row in rows.items()
        ]

    def normal(self, entry: RoleEntry, named: Collection[str]) -> RoleEntry:
        return msgspec.structs.replace(
            entry,
            name=names.checked(entry.name),
            description=names.checked_description(entry.description),
            contains=sorted_roles(entry.contains),
        )

    def above(self, entry: RoleEntry) -> Iterable[Identity]:
        return ((names.key(other.name), other.client_id, entry.organization) for other in entry.contains)

    async def create(self, entry: RoleEntry, secret: str | None) -> None:
        owner = (await organization_named(entry.organization)).id if entry.organization is not None else None
        await roles.create(entry.name, entry.client_id, entry.description, organization_id=owner)
        for other in entry.contains:
            await self._contain(entry, other, wanted=True)

    async def update(self, before: RoleEntry, after: RoleEntry, changed: Collection[str]) -> None:
        found = await self._found(after)
        if {"name", "description"} & set(changed):
            await roles.update(found.id, after.name, after.description)
        for other in set(before.contains) - set(after.contains):
            await self._contain(after, other, wanted=False)
        for other in set(after.contains) - set(before.contains):
            await self._contain(after, other, wanted=True)

    async def _contain(self, entry: RoleEntry, other: RoleName, *, wanted: bool) -> None:
        role = await self._found(entry)
        contained = await role_named(other, role.organization_id)
        await (roles.contain if wanted else roles.release)(role.id, contained.id)

    async def _found(self, entry: RoleEntry) -> Role:
        owner = (await organization_named(entry.organization)).id if entry.organization is not None else None
        return await role_named(RoleName(name=entry.name, client_id=entry.client_id), owner)

    async def delete(self, entry: RoleEntry) -> None:
        await roles.delete((await self._found(entry)).id)

    async def losses(self, entry: RoleEntry) -> str:
        return f"{await count_holders((await self._found(entry)).id)} users were given it, and lose it."


class GroupEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group.

    Attributes:
        parent: the name of the group that it is in.
        roles: those of all who are in it.
    """

    name: str
    description: str = ""
    parent: str | None = None
    roles: tuple[RoleName, ...] = ()


class Groups(Kind):
    """Groups. Their members are no configuration."""

    section = "groups"
    model = GroupEntry
    key = ("name",)
    topics = (TOPIC,)

    def identity(self, entry: GroupEntry) -> Identity:
        return (names.key(entry.name),)

    async def read(self) -> list[GroupEntry]:
        known, given = await role_names(), dict[UUID, list[RoleName]]()
        for group_id, role_id in await roles_of_groups():
            given.setdefault(group_id, []).append(known[role_id])
        return [
            GroupEntry(
                name=row["name"],
                description=row["description"],
                parent=row["parent"],
                roles=sorted_roles(given.get(row["id"], ())),
            )
            for row in await all_rows(GROUPS)
        ]

    def normal(self, entry: GroupEntry, named: Collection[str]) -> GroupEntry:
        return msgspec.structs.replace(
            entry,
            name=names.checked(entry.name),
            description=names.checked_description(entry.description),
            roles=sorted_roles(entry.roles),
        )

    def above(self, entry: GroupEntry) -> Iterable[Identity]:
        return [(names.key(entry.parent),)] if entry.parent is not None else []

    async def create(self, entry: GroupEntry, secret: str | None) -> None:
        parent = (await group_named(entry.parent)).id if entry.parent is not None else None
        created = await groups.create(entry.name, entry.description, parent)
        await self._set_roles(created.id, (), entry.roles)

    async def update(self, before: GroupEntry, after: GroupEntry, changed: Collection[str]) -> None:
        found = await group_named(after.name)
        values: dict[str, Any] = {name: getattr(after, name) for name in ("name", "description") if name in changed}
        if "parent" in changed:
            values["parent_id"] = (await group_named(after.parent)).id if after.parent is not None else None
        if values:
            await groups.update(found.id, **values)
        await self._set_roles(found.id, before.roles, after.roles)

    async def _set_roles(self, id: UUID, before: Iterable[RoleName], after: Iterable[RoleName]) -> None:
        for role in sorted_roles(set(before) - set(after)):
            await groups.take_role(id, (await role_named(role)).id)
        for role in sorted_roles(set(after) - set(before)):
            await groups.give_role(id, (await role_named(role)).id)

    async def delete(self, entry: GroupEntry) -> None:
        await groups.delete((await group_named(entry.name)).id)

    async def losses(self, entry: GroupEntry) -> str:
        members = await count_members((await group_named(entry.name)).id)
        return f"{members} users are in it, and lose what follows from it."
