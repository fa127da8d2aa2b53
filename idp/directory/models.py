"""Groups, organizations, roles, and what follows from them for a user."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from uuid import UUID

import msgspec

from idp.directory.sign_in_policy import NO_POLICY, SignInPolicy

#: The origin of what an administrator gave, and of what an invitation gave.
ADMIN, INVITATION = "admin", "invitation"


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


class Organization(msgspec.Struct, frozen=True, kw_only=True):
    """An organization: a customer, a department or a tenant.

    Attributes:
        slug: its name in requests, which never changes.
        disabled_at: since then its memberships do not count.
    """

    id: UUID
    slug: str
    name: str
    created_at: datetime
    updated_at: datetime
    disabled_at: datetime | None


class Domain(msgspec.Struct, frozen=True, kw_only=True):
    """A domain that an organization claims.

    Attributes:
        domain: in ASCII (IDNA) and lower case, as in stored addresses.
        token: what its TXT record must contain.
        enforced: whether its addresses sign in at the upstreams of the organization only.
        verified_at: since then it belongs to the organization; None: it is claimed.
        missing_since: since when the record of a verified domain was not found.
    """

    id: UUID
    organization_id: UUID
    domain: str
    token: str
    enforced: bool
    created_at: datetime
    verified_at: datetime | None
    checked_at: datetime | None
    missing_since: datetime | None
    next_check_at: datetime | None


class VerifiedDomain(msgspec.Struct, frozen=True):
    """A domain that belongs to an organization, as far as it concerns sign-ins."""

    domain: str
    organization_id: UUID
    enforced: bool


class DomainOwner(VerifiedDomain, frozen=True):
    """The same, and whether the organization is disabled."""

    organization_disabled: bool


class InvitationState(StrEnum):
    """The state of an invitation into an organization. All but ``open`` are final."""

    OPEN = "open"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    REVOKED = "revoked"
    EXPIRED = "expired"


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """An invitation of an address into an organization.

    Attributes:
        email: the normalised address.
        role_ids: the roles of the organization that its person gets. Those deleted since are left out.
        admin: whether the person manages the organization.
        invited_by: None: no user invited, or the user is deleted.
        user_id: who accepted or declined it.
        sent_at: when its last mail was queued.
    """

    id: UUID
    organization_id: UUID
    email: str
    role_ids: list[UUID]
    admin: bool
    invited_by: UUID | None
    user_id: UUID | None
    state: InvitationState
    created_at: datetime
    sent_at: datetime
    expires_at: datetime
    ended_at: datetime | None


class Offer(Invitation, frozen=True, kw_only=True):
    """An invitation as the invited person sees it.

    Attributes:
        inviter: the name of the user who invited, if there is one with a name.
    """

    slug: str
    organization_name: str
    organization_disabled: bool
    inviter: str | None


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """A role: of one client, of one organization, or of the whole server if both are None."""

    id: UUID
    client_id: str | None
    organization_id: UUID | None
    name: str
    description: str
    created_at: datetime
    updated_at: datetime


class OrganizationMembership(msgspec.Struct, frozen=True, kw_only=True):
    """An organization of a user, with the names of the roles there, ordered, and what a sign-in for it needs."""

    id: UUID
    slug: str
    name: str
    roles: tuple[str, ...] = ()
    policy: SignInPolicy = NO_POLICY


class Memberships(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The groups, organizations and roles of a user, with those that follow from others.

    Attributes:
        groups: by id, the names, ordered by name: the groups that the user was added to, and those above them.
        role_ids: the roles that the user or one of the groups was given, and those contained in them.
        roles: the names of those of the whole server, ordered.
        client_roles: by client, the names of its roles, ordered.
        organizations: by id, those that are not disabled, ordered by slug.
    """

    groups: Mapping[UUID, str] = MappingProxyType({})
    role_ids: frozenset[UUID] = frozenset()
    roles: tuple[str, ...] = ()
    client_roles: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    organizations: Mapping[UUID, OrganizationMembership] = MappingProxyType({})

    @cached_property
    def group_names(self) -> tuple[str, ...]:
        return tuple(self.groups.values())


class Named(msgspec.Struct, frozen=True):
    """A group or a role through which another one follows."""

    id: UUID
    name: str


class GroupOfUser(msgspec.Struct, frozen=True, kw_only=True):
    """A group that a user is in, and why.

    Attributes:
        direct: whether the user was added to it.
        through_groups: the groups below it that the user was added to.
    """

    id: UUID
    name: str
    direct: bool
    through_groups: list[Named]


class RoleOfUser(msgspec.Struct, frozen=True, kw_only=True):
    """A role that a user has, and why.

    Attributes:
        direct: whether the user was given it.
        through_groups: the groups of the user that were given it.
        through_roles: the roles of the user that contain it.
    """

    id: UUID
    client_id: str | None
    organization_id: UUID | None
    name: str
    direct: bool
    through_groups: list[Named]
    through_roles: list[Named]


class ExplainedMemberships(msgspec.Struct, frozen=True):
    """All groups and roles of a user, ordered by name, each with the reasons."""

    groups: list[GroupOfUser]
    roles: list[RoleOfUser]
