"""The branding of organizations: setting it, and what pages and mails show of it.

With branding, an organization is visible: a request that names it shows its name before anybody has signed in
(``organization_branding_before_sign_in``). One without branding looks like one that does not exist.
"""

from datetime import datetime
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from idp.audit.events import record
from idp.directory import names, organizations
from idp.directory.branding_models import Brand, Branding
from idp.directory.repository import branding as repository
from idp.directory.repository.branding import ShownBranding
from idp.directory.repository.organizations import lock_organization
from idp.errors import NotFoundError, ValidationError, VersionConflictError
from idp.infra import colors, pictures
from idp.infra.db.engine import transaction
from idp.mail.messages import suitable_name
from idp.settings import settings

#: Where an uploaded logo is served (:mod:`idp.signin.organization_logos`).
LOGOS = "/organization-logos"
MAX_URI = 2048
_URIS = ("logo_uri", "help_uri", "terms_uri", "privacy_uri")
_FIELDS = ("display_name", "color", *_URIS)


class InvalidBrandingError(ValidationError):
    """A part of a branding is not valid."""


class NoBrandingError(NotFoundError):
    """The organization has no branding, or no uploaded logo."""

    def __init__(self) -> None:
        super().__init__("The organisation has no branding.")


async def branding_of(organization_id: UUID) -> Branding | None:
    return await repository.branding_of(organization_id)


async def set_branding(
    organization_id: UUID, expected: datetime | UnsetType | None = UNSET, **values: str | None
) -> Branding:
    """Set the branding of an organization, in place of the one that it has. An uploaded logo stays.

    Args:
        expected: the ``updated_at`` that the caller has read; None: there was none. If that has changed since, nothing
            is changed.
        values: the fields of :class:`Branding`.

    Raises:
        InvalidBrandingError: a value is not valid.
        InvalidNameError: the display name cannot be used.
        UnknownOrganizationError: there is no such organization.
        VersionConflictError: it has changed.
    """
    given = dict.fromkeys(_FIELDS) | checked(values)
    async with transaction():
        before = await _locked(organization_id, expected)
        if before is None or any(getattr(before, name) != value for name, value in given.items()):
            await repository.save_branding(organization_id, **given)
            await _record(organization_id, before)
        saved = await repository.branding_of(organization_id)
    assert saved is not None  # noqa: S101 -- this transaction saved it
    return saved


async def remove_branding(organization_id: UUID, expected: datetime | UnsetType | None = UNSET) -> None:
    """Remove the branding of an organization, with its logo.

    Args:
        expected: as of :func:`set_branding`.

    Raises:
        UnknownOrganizationError: there is no such organization.
        NoBrandingError: it has none.
        VersionConflictError: it has changed.
    """
    async with transaction():
        before = await _locked(organization_id, expected)
        if not await repository.delete_branding(organization_id):
            raise NoBrandingError
        await _record(organization_id, before)


async def save_logo(organization_id: UUID, content: bytes) -> None:
    """Store the logo of an organization.

    Raises:
        UnknownOrganizationError: there is no such organization.
        InvalidPictureError: the picture is not accepted.
    """
    kind, version = pictures.media_type(content), sha256(content).hexdigest()[:8]
    async with transaction():
        before = await _locked(organization_id)
        await repository.save_logo(organization_id, content, kind, version)
        await _record(organization_id, before)


async def remove_logo(organization_id: UUID) -> None:
    """Delete the uploaded logo of an organization.

    Raises:
        UnknownOrganizationError: there is no such organization.
        NoBrandingError: it has none.
    """
    async with transaction():
        before = await _locked(organization_id)
        if not await repository.delete_logo(organization_id):
            raise NoBrandingError
        await _record(organization_id, before)


async def _locked(organization_id: UUID, expected: datetime | UnsetType | None = UNSET) -> Branding | None:
    """Lock the organization, and return its branding of the expected version."""
    await lock_organization(organization_id)
    await organizations.found(organization_id)
    before = await repository.branding_of(organization_id)
    if expected is not UNSET and (before.updated_at if before is not None else None) != expected:
        raise VersionConflictError
    return before


async def _record(organization_id: UUID, before: Branding | None) -> None:
    organization = await organizations.found(organization_id)
    after = await repository.branding_of(organization_id)
    detail = {"organization_id": str(organization.id), "slug": organization.slug}
    await record("organization_branding_set", detail=detail | {"before": _shown(before), "after": _shown(after)})


def _shown(branding: Branding | None) -> dict[str, Any]:
    names_ = (*_FIELDS, "logo_version")
    return {name: value for name in names_ if branding is not None and (value := getattr(branding, name)) is not None}


def checked(values: dict[str, str | None]) -> dict[str, str | None]:
    """Return the fields of a branding in the form in which they are stored.

    Raises:
        InvalidBrandingError: a value is not valid.
        InvalidNameError: the display name cannot be used.
    """
    if not values.keys() <= set(_FIELDS) or not all(isinstance(value, str | None) for value in values.values()):
        raise InvalidBrandingError("A value is of a wrong type.")
    found = {name: value or None for name, value in values.items()}
    if (name := found.get("display_name")) is not None:
        found["display_name"] = names.checked(name)
    if (color := found.get("color")) is not None:
        found["color"] = _checked_color(color)
    for field in _URIS:
        if (uri := found.get(field)) is not None and not _is_web_page(uri):
            raise InvalidBrandingError(f"{field} must be an https URL of up to {MAX_URI} ASCII characters.")
    return found


def _checked_color(color: str) -> str:
    if not colors.is_color(color):
        raise InvalidBrandingError("Write the colour like #0f5568.")
    contrast = colors.lowest_contrast(color)
    if contrast < colors.READABLE:
        raise InvalidBrandingError(
            f"Links in the colour {color} are hard to read: their contrast is {int(contrast * 10) / 10} to 1, and"
            f" people need {colors.READABLE} to 1 (WCAG 2.2, level AA). Choose a darker colour."
        )
    return color.lower()


def _is_web_page(uri: str) -> bool:
    if len(uri) > MAX_URI or not uri.isascii() or not uri.isprintable() or set(uri) & set(" \\\"'<>`{}|^"):
        return False
    try:
        parts = urlsplit(uri)
        return parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        return False


async def brand_of(organization_id: UUID | None) -> Brand | None:
    """Return what a page or a mail shows of an organization; None: it has no branding, or is disabled."""
    return _brand(await repository.shown_by_id(organization_id)) if organization_id is not None else None


async def brand_named(slug_or_id: str | None) -> Brand | None:
    """Return what the first page of a sign-in shows of the organization that its request names.

    None: there is none, or the operator shows it to members only.
    """
    if slug_or_id is None or not settings().organization_branding_before_sign_in:
        return None
    shown = await repository.shown_by_slug(slug_or_id)
    if shown is None and names.is_id(slug_or_id):
        shown = await repository.shown_by_id(UUID(slug_or_id))
    return _brand(shown)


async def for_mail(organization_id: UUID) -> dict[str, Any]:
    """Return the value ``brand`` of a mail of an organization, for :func:`idp.mail.outbox.queue`.

    Empty: it has no branding. The name is left out if a mail must not repeat it.
    """
    brand = await brand_of(organization_id)
    if brand is None:
        return {}
    dark = colors.in_the_dark(brand.color) if brand.color is not None else None
    return {"brand": msgspec.structs.asdict(brand) | {"name": suitable_name(brand.name), "dark_color": dark}}


def logo_uri(branding: Branding) -> str | None:
    """Return the URL of the logo: the uploaded one, or the one elsewhere."""
    if branding.logo_version is None:
        return branding.logo_uri
    return f"{settings().issuer}{LOGOS}/{branding.organization_id}?v={branding.logo_version}"


def _brand(shown: ShownBranding | None) -> Brand | None:
    if shown is None:
        return None
    links = {name: getattr(shown, name) for name in ("color", "help_uri", "terms_uri", "privacy_uri")}
    return Brand(name=shown.display_name or shown.name, logo_uri=logo_uri(shown), **links)
