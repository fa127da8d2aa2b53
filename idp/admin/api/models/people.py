"""Request and response bodies of the operations on users, their sessions, consents and mails, and administrators."""

from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import UNSET, UnsetType

from idp.admin.api.models.base import Sent, Shown
from idp.admin.roles import Role
from idp.oauth.consent_grant import ConsentedScope


class User(Shown):
    id: UUID
    email: str
    email_verified: bool
    name: str | None
    given_name: str | None
    family_name: str | None
    two_step: bool
    origin: str
    roles: list[str]
    created_at: datetime
    updated_at: datetime
    disabled_at: datetime | None
    disabled_by: str | None


class NewUser(Sent):
    """``send_mail``: send a mail with a link to choose a password. ``attributes``: values of declared attributes."""

    email: str
    name: str | None = None
    given_name: str | None = None
    family_name: str | None = None
    attributes: dict[str, Any] = {}
    send_mail: bool = True


class ProfileChange(Sent):
    """Standard claims (OpenID Connect Core section 5.1). Null removes a claim; absent members keep their value.

    ``email``: an address that the user has not verified. Sessions and tokens end, and the old address is told.
    """

    email: str | UnsetType = UNSET
    name: str | UnsetType | None = UNSET
    given_name: str | UnsetType | None = UNSET
    family_name: str | UnsetType | None = UNSET
    middle_name: str | UnsetType | None = UNSET
    nickname: str | UnsetType | None = UNSET
    preferred_username: str | UnsetType | None = UNSET
    profile: str | UnsetType | None = UNSET
    picture: str | UnsetType | None = UNSET
    website: str | UnsetType | None = UNSET
    gender: str | UnsetType | None = UNSET
    birthdate: str | UnsetType | None = UNSET
    zoneinfo: str | UnsetType | None = UNSET
    locale: str | UnsetType | None = UNSET
    phone_number: str | UnsetType | None = UNSET


class Invitation(Shown):
    """An invitation that was neither used nor revoked. ``expired``: it works again when it is mailed again."""

    id: UUID
    email: str
    name: str | None
    created_at: datetime
    expires_at: datetime
    expired: bool


class NewInvitation(Sent):
    email: str
    name: str | None = None


class Session(Shown):
    sid: UUID
    user_id: UUID
    email: str
    auth_time: datetime
    amr: list[str]
    acr: str
    user_agent: str
    ip_address: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    ended_reason: str | None


class Consent(Shown):
    """Each of ``grants`` is a scope at a resource; null is this server. ``claims`` were requested by name."""

    id: UUID
    user_id: UUID
    email: str
    client_id: str
    client_name: str
    grants: list[ConsentedScope]
    claims: list[str]
    authorization_details: list[dict[str, Any]]
    granted_at: datetime


class Mail(Shown):
    id: UUID
    recipient: str
    template: str
    state: str
    attempts: int
    response: str
    created_at: datetime
    next_attempt_at: datetime | None
    expires_at: datetime
    finished_at: datetime | None


class Admin(Shown):
    id: UUID
    user_id: UUID
    email: str
    name: str | None
    role: Role
    granted_by: str
    granted_at: datetime


class NewAdmin(Sent):
    user_id: UUID
    role: Role


class Subject(Sent):
    """The ``sub`` in a client's data. ``sector``: the host of a sector that no client has any more."""

    subject: str
    sector: str | None = None
