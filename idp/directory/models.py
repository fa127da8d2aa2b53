"""Groups, roles, and what follows from them for a user."""

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from types import MappingProxyType
from uuid import UUID

import msgspec

#: The origin of what an administrator gave.
ADMIN = "admin"


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """A group.

    Attributes:
        path: the ids of the groups above it, the topmost first, and its own.
    """

    id: UUID
    name: str
    description: str
    parent_id: UUID | None
    path: list[UUID]
    created_at: datetime
    updated_at: datetime


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """A role: of one client, or of the whole server if ``client_id`` is None."""

    id: UUID
    client_id: str | None
    name: str
    description: str
    created_at: datetime
    updated_at: datetime


class Memberships(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The groups and roles of a user, with those that follow from others.

    Attributes:
        groups: by id, the names, ordered by name: the groups that the user was added to, and those above them.
        role_ids: the roles that the user or one of the groups was given, and those contained in them.
        roles: the names of those of the whole server, ordered.
        client_roles: by client, the names of its roles, ordered.
    """

    groups: Mapping[UUID, str] = MappingProxyType({})
    role_ids: frozenset[UUID] = frozenset()
    roles: tuple[str, ...] = ()
    client_roles: Mapping[str, tuple[str, ...]] = MappingProxyType({})

    @cached_property
    def group_names(self) -> tuple[str, ...]:
        return tuple(self.groups.values())
