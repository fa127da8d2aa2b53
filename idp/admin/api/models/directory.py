"""Request and response bodies of the operations on groups and roles."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from idp.admin.api.models.base import Sent, Shown

#: Users who are added at once.
MAX_USERS = 500


class Group(Shown):
    """A group. ``parent`` is the name of the group that it is in; ``path`` are the ids of all groups above it, the
    topmost first, and its own.
    """

    id: UUID
    name: str
    description: str
    parent_id: UUID | None
    parent: str | None
    path: list[UUID]
    created_at: datetime
    updated_at: datetime


class NewGroup(Sent):
    name: str
    description: str = ""
    parent_id: UUID | None = None


class GroupChange(Sent):
    """Absent members keep their value. ``parent_id`` null: in no other group."""

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    parent_id: UUID | UnsetType | None = UNSET


class DeletedGroup(Shown):
    """``members``: how many it had."""

    members: int


class GroupMember(Shown):
    """``origin`` is what added the user: ``admin``, or the name of what may remove them again."""

    user_id: UUID
    group_id: UUID
    email: str
    name: str | None
    disabled_at: datetime | None
    origin: str
    created_at: datetime


class Users(Sent):
    """All of them exist, or nothing is done."""

    user_ids: Annotated[list[UUID], Meta(min_length=1, max_length=MAX_USERS)]


class Added(Shown):
    """``added``: the number of those that were not there before."""

    added: int


class GivenRole(Sent):
    role_id: UUID


class DirectoryRole(Shown):
    """A role of one client or one organization; of the whole server if both are null."""

    id: UUID
    client_id: str | None
    organization_id: UUID | None
    name: str
    description: str
    created_at: datetime
    updated_at: datetime


class NewDirectoryRole(Sent):
    name: str
    client_id: str | None = None
    description: str = ""


class DirectoryRoleChange(Sent):
    """Absent members keep their value."""

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET


class DeletedDirectoryRole(Shown):
    """``holders``: how many users had been given it."""

    holders: int


class RoleHolder(Shown):
    """``origin`` is what gave the role: ``admin``, or the name of what may take it again. ``disabled_at`` is as for
    members of organizations.
    """

    user_id: UUID
    role_id: UUID
    email: str
    name: str | None
    disabled_at: datetime | None
    origin: str
    created_at: datetime
