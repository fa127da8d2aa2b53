"""Request and response bodies of the operations on organizations."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import UNSET, UnsetType

from idp.admin.api.models.base import Sent, Shown
from idp.directory.models import InvitationState


class Organization(Shown):
    """``slug`` names it in requests. While it is disabled, its memberships do not count."""

    id: UUID
    slug: str
    name: str
    created_at: datetime
    updated_at: datetime
    disabled_at: datetime | None


class NewOrganization(Sent):
    """``slug``: 1 to 63 lower-case letters a to z, digits and hyphens. It never changes."""

    slug: str
    name: str


class OrganizationChange(Sent):
    name: str | UnsetType = UNSET


class OrganizationMember(Shown):
    """``admin``: whether the member manages the organization. ``origin``: what added the member. ``disabled_at`` is of
    the account, null for administrators of the organization, who do not see it; ``membership_disabled_at`` of the
    membership, or of the account that it made, which a SCIM client of the organization has disabled.
    """

    user_id: UUID
    email: str
    name: str | None
    disabled_at: datetime | None
    admin: bool
    origin: str
    created_at: datetime
    membership_disabled_at: datetime | None


class OrganizationMemberChange(Sent):
    admin: bool | UnsetType = UNSET


class OrganizationDomain(Shown):
    """A domain is verified, and belongs to the organization, as soon as ``record_value`` was found in a TXT record with
    the name ``record_name``. ``enforced``: its addresses sign in at the upstreams of the organization only.
    ``missing_since``: since when the record of a verified domain was not found.
    """

    id: UUID
    domain: str
    record_name: str
    record_value: str
    enforced: bool
    created_at: datetime
    verified_at: datetime | None
    checked_at: datetime | None
    missing_since: datetime | None


class NewOrganizationDomain(Sent):
    domain: str


class OrganizationInvitation(Shown):
    """An invitation of an address. ``role_ids``: the roles of the organization that its person gets; ``admin``: whether
    the person manages the organization. ``user_id`` accepted or declined it. ``sent_at``: time of the last mail.
    """

    id: UUID
    email: str
    role_ids: list[UUID]
    admin: bool
    state: InvitationState
    invited_by: UUID | None
    user_id: UUID | None
    created_at: datetime
    sent_at: datetime
    expires_at: datetime
    ended_at: datetime | None


class NewOrganizationInvitation(Sent):
    """``role_ids``: roles of the organization. ``admin``: the person manages the organization."""

    email: str
    role_ids: tuple[UUID, ...] = ()
    admin: bool = False


class NewOrganizationRole(Sent):
    name: str
    description: str = ""


class OrganizationRoleChange(Sent):
    """Absent members keep their value."""

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET


class SignInPolicy(Shown):
    """The conditions of a sign-in for the organization (docs/organizations.md).

    ``session_max_age`` and ``session_idle``: in seconds; null: any. ``ways``: of which one is needed; empty: any.
    ``updated_at``: of the organization.
    """

    second_factor: bool
    session_max_age: int | None
    session_idle: int | None
    ways: tuple[str, ...]
    updated_at: datetime


class NewSignInPolicy(Sent):
    """The whole policy. What is left out is no condition. ``accept_lockout``: set it even if people are locked out."""

    second_factor: bool = False
    session_max_age: int | None = None
    session_idle: int | None = None
    ways: tuple[Literal["password", "passkey", "email_code", "upstream"], ...] = ()
    accept_lockout: bool = False


class OrganizationEvent(Shown):
    """An audit event of the organization. ``user_id``: the member that it is about. ``by_id``: the member who caused
    it. Both are null for those who are not members, such as administrators of the server.
    """

    id: UUID
    at: datetime
    event: str
    user_id: UUID | None
    email: str | None
    by_id: UUID | None
    by: str | None
    detail: dict[str, str]
