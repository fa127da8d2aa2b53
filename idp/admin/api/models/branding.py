"""Request and response bodies of the operations on branding."""

from datetime import datetime
from typing import Any
from uuid import UUID

from idp.admin.api.models.base import Sent, Shown


class Branding(Shown):
    """The look of pages and mails. Null: the next owner decides, and the settings last.

    ``logo``, ``dark_logo``, ``favicon``, ``background``: the SHA-256 of an uploaded picture. ``updated_at``: null:
    there is no branding.
    """

    updated_at: datetime | None
    display_name: str | None
    title: str | None
    color: str | None
    dark_color: str | None
    background_color: str | None
    dark_background_color: str | None
    corners: str | None
    font: str | None
    logo_uri: str | None
    logo: str | None
    dark_logo: str | None
    favicon: str | None
    background: str | None
    help_uri: str | None
    support_uri: str | None
    privacy_uri: str | None
    terms_uri: str | None
    imprint_uri: str | None
    ways: list[str]


class NewBranding(Sent):
    """The whole branding.

    ``color``, ``dark_color``, ``background_color``, ``dark_background_color``: such as #0f5568; their contrast is
    checked. ``corners``: square, small, medium or large. ``font``: system, humanist, geometric, rounded, serif or mono.
    The URIs: by https. ``logo``, ``dark_logo``, ``favicon``, ``background``: a PNG, JPEG, GIF or WebP picture as a
    data: URL, or the SHA-256 of one that a version has. ``ways``: those that come first: password, email_code,
    passkey, upstream.
    """

    display_name: str | None = None
    title: str | None = None
    color: str | None = None
    dark_color: str | None = None
    background_color: str | None = None
    dark_background_color: str | None = None
    corners: str | None = None
    font: str | None = None
    logo_uri: str | None = None
    logo: str | None = None
    dark_logo: str | None = None
    favicon: str | None = None
    background: str | None = None
    help_uri: str | None = None
    support_uri: str | None = None
    privacy_uri: str | None = None
    terms_uri: str | None = None
    imprint_uri: str | None = None
    ways: list[str] = []


class BrandingVersion(Shown):
    """``branding``: the values that were set; null: it was removed. ``replaced_at``: null: the current version."""

    id: UUID
    created_at: datetime
    replaced_at: datetime | None
    actor: str
    branding: dict[str, Any] | None


class BrandingVersions(Shown):
    """The kept versions, the newest first."""

    items: list[BrandingVersion]
