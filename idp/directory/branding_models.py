"""The branding of an organization: what pages and mails of a sign-in for it show."""

from datetime import datetime
from uuid import UUID

import msgspec


class Branding(msgspec.Struct, frozen=True, kw_only=True):
    """The branding that an organization has set. None: as without.

    Attributes:
        display_name: shown in place of its name.
        logo_uri: a picture elsewhere, by https. logo_version: of the uploaded picture, which is shown instead.
        color: of buttons and links, such as ``#0f5568``.
        help_uri, terms_uri, privacy_uri: pages of the organization, by https.
        updated_at: its version.
    """

    organization_id: UUID
    display_name: str | None
    logo_uri: str | None
    logo_version: str | None
    color: str | None
    help_uri: str | None
    terms_uri: str | None
    privacy_uri: str | None
    updated_at: datetime


class Brand(msgspec.Struct, frozen=True, omit_defaults=True):
    """The parts of a branding that a page or a mail shows."""

    name: str
    logo_uri: str | None = None
    color: str | None = None
    help_uri: str | None = None
    terms_uri: str | None = None
    privacy_uri: str | None = None


class Logo(msgspec.Struct, frozen=True):
    """An uploaded picture."""

    logo: bytes
    logo_type: str
