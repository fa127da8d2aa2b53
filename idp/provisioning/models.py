"""Provisioning targets as the other modules see them."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec


class Users(StrEnum):
    """Which users a target gets."""

    ALL = "all"
    #: Those in one of its groups, also in groups below them.
    GROUPS = "groups"
    #: The members of its organization.
    ORGANIZATION = "organization"
    #: Those for whom the access policy of its client is.
    CLIENT = "client"


class Match(StrEnum):
    """The attribute by which an account that exists at the target is found and adopted."""

    USER_NAME = "userName"
    EXTERNAL_ID = "externalId"
    EMAIL = "email"


class Removal(StrEnum):
    """The end of an account at the target: of users who are deleted here, or are no longer among its users."""

    DEACTIVATE = "deactivate"
    DELETE = "delete"


class Drift(StrEnum):
    """How a target differs from what it is to have."""

    #: A user is not there.
    MISSING = "missing"
    #: Attributes have other values.
    DIFFERENT = "different"
    #: A user is inactive there, and is to be active.
    INACTIVE = "inactive"
    #: A user is active there, and is not to be.
    ACTIVE = "active"
    #: The account of a user is there, and is to be deleted.
    EXTRA = "extra"
    #: An account that is of none of the users. It is only reported.
    UNMANAGED = "unmanaged"
    GROUP_MISSING = "group_missing"
    GROUP_DIFFERENT = "group_different"
    GROUP_MEMBERS = "group_members"
    GROUP_EXTRA = "group_extra"
    GROUP_UNMANAGED = "group_unmanaged"


class State(StrEnum):
    """How a user or a group is at a target, as last sent."""

    ABSENT = "absent"
    ACTIVE = "active"
    INACTIVE = "inactive"


class Features(msgspec.Struct, frozen=True):
    """The features that the ServiceProviderConfig of a target states (RFC 7643 section 5).

    Attributes:
        cursor: it offers pages by cursor (RFC 9865).
    """

    patch: bool = True
    etag: bool = False
    cursor: bool = False


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """An application with a SCIM server.

    Attributes:
        base_url: without a slash at the end.
        groups, organization_id, client_id: what ``users`` refers to.
        pushed_groups: those that it gets as groups.
        mapping: by path of a SCIM attribute, the name of its source (:mod:`idp.provisioning.mapping`).
        mends: a periodic check also mends what it finds.
        features: None: not read yet.
        failing_reason: why it refuses all requests.
    """

    id: UUID
    name: str
    base_url: str
    users: Users
    groups: list[UUID]
    organization_id: UUID | None
    client_id: str | None
    pushed_groups: list[UUID]
    mapping: Mapping[str, str]
    match: Match
    removal: Removal
    mends: bool
    features: Features | None
    features_at: datetime | None
    failing_since: datetime | None
    failing_reason: str
    disabled_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def stream(self) -> str:
        """The receiver, for the outbox."""
        return stream_of(self.id)


def stream_of(target_id: UUID) -> str:
    return f"scim:{target_id}"


class Claim(msgspec.Struct, frozen=True):
    """The hold of one attempt on a user or a group at a target.

    Attributes:
        revision: the number of the attempt. What is recorded for another one has no effect.
        sent_hash: of what was last sent; None: unknown.
    """

    remote_id: str | None
    state: State
    sent_hash: bytes | None
    revision: int

    @property
    def is_first(self) -> bool:
        """Whether no attempt before can have created anything."""
        return self.revision == 1


#: A SCIM resource.
Document = dict[str, Any]
