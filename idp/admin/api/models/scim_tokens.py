"""Request and response bodies of the operations on SCIM tokens."""

from datetime import datetime
from uuid import UUID

from idp.admin.api.models.base import Sent, Shown
from idp.scim.tokens import DEFAULT_LIFETIME as SCIM_LIFETIME
from idp.scim.tokens import DEFAULT_OVERLAP


class ScimToken(Shown):
    """A token for SCIM, without its value. The value before a rotation is valid until ``old_expires_at``. One of an
    ``organization``, by its slug, manages its members and roles only.
    """

    id: UUID
    organization_id: UUID | None
    organization: str | None
    name: str
    writes: bool
    expires_at: datetime
    old_expires_at: datetime | None
    last_used_at: datetime | None
    created_at: datetime
    updated_at: datetime


class NewScimToken(Sent):
    """``writes``: it may change users and groups. ``lifetime`` is in seconds. ``organization_id``: it manages only the
    members and roles of this organization.
    """

    name: str
    organization_id: UUID | None = None
    writes: bool = True
    lifetime: int = SCIM_LIFETIME


class NewOrganizationScimToken(Sent):
    """``writes``: it may change members and roles. ``lifetime`` is in seconds."""

    name: str
    writes: bool = True
    lifetime: int = SCIM_LIFETIME


class ScimTokenRotation(Sent):
    """``lifetime`` of the new value and ``overlap``, for which the value before stays valid, are in seconds."""

    lifetime: int = SCIM_LIFETIME
    overlap: int = DEFAULT_OVERLAP


class ScimTokenValue(Shown):
    """The token is shown once."""

    id: UUID
    token: str
