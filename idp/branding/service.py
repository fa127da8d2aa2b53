"""Reads and changes brandings. Each change is a version, which can be restored."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
from msgspec import UNSET, UnsetType

from idp import ids
from idp.audit.events import About, record
from idp.branding import repository, validation
from idp.branding.models import FIELDS, PICTURES, Branding, Owner, Picture, Version
from idp.branding.registry import TOPIC
from idp.branding.validation import InvalidBrandingError
from idp.errors import NotFoundError, VersionConflictError
from idp.infra.db.cache_invalidation import exclusive_change
from idp.infra.request_context import actor

#: Versions that are kept of each owner, the current one included.
KEPT = 20

Expected = datetime | UnsetType | None


class NoBrandingError(NotFoundError):
    """There is no branding, no such version, or no such picture."""

    def __init__(self, description: str = "There is no branding.") -> None:
        super().__init__(description)


class UnknownOwnerError(NotFoundError):
    """There is no such client or organization."""

    def __init__(self) -> None:
        super().__init__("There is no such client or organisation.")


async def current(owner: Owner) -> Version | None:
    """Return the version that pages show; None: there is no branding."""
    found = await repository.current(owner)
    return found if found is not None and found.branding is not None else None


async def branding_of(owner: Owner) -> Branding:
    """Return the branding; an empty one if there is none."""
    found = await current(owner)
    return found.branding if found is not None and found.branding is not None else Branding()


async def history(owner: Owner) -> list[Version]:
    """Return the kept versions, the newest first."""
    return await repository.history(owner)


async def save(owner: Owner, values: Mapping[str, Any], expected: Expected = UNSET) -> Version | None:
    """Set the branding, in place of the one that there is.

    Args:
        values: the fields of :class:`Branding`. A picture is the SHA-256 of one of this owner's, or a ``data:`` URL.
        expected: the time of the version that the caller has read; None: there was none. If that has changed since,
            nothing is changed.

    Returns:
        the current version; None: it is empty, and there was none.

    Raises:
        InvalidBrandingError: a value is not valid.
        UnknownOwnerError: there is no such client or organization.
        VersionConflictError: it has changed.
    """
    named, uploaded = validation.without_content(values)
    branding = validation.checked(named)
    async with exclusive_change(TOPIC):
        before = await _expected(owner, expected)
        for sha256 in set(branding.pictures) - uploaded.keys():
            if not await repository.has_picture(owner, sha256):
                raise InvalidBrandingError("It has no picture with this SHA-256. Upload the picture.")
        await _change(owner, before, branding, uploaded)
        return await current(owner)


async def remove(owner: Owner, expected: Expected = UNSET) -> None:
    """Remove the branding. Its versions stay, and can be restored.

    Raises:
        NoBrandingError: there is none.
        VersionConflictError: it has changed.
    """
    async with exclusive_change(TOPIC):
        before = await _expected(owner, expected)
        if before is None:
            raise NoBrandingError
        await _change(owner, before, None)


async def restore(owner: Owner, version_id: UUID) -> None:
    """Make a copy of a kept version the current one.

    Raises:
        NoBrandingError: there is no such version.
        InvalidBrandingError: it has a value that is not valid any more.
    """
    async with exclusive_change(TOPIC):
        found = await repository.version(owner, version_id)
        if found is None:
            raise NoBrandingError("There is no such version. Only the newest ones are kept.")
        branding = validation.checked(msgspec.structs.asdict(found.branding)) if found.branding is not None else None
        await _change(owner, await _expected(owner, UNSET), branding)


async def save_picture(owner: Owner, name: str, content: bytes) -> None:
    """Upload a picture: one of :data:`idp.branding.models.PICTURES`.

    Raises:
        UnknownOwnerError: there is no such client or organization.
        InvalidPictureError: the picture is not accepted.
    """
    sha256, uploaded = validation.picture(name, content)
    async with exclusive_change(TOPIC):
        before = await _expected(owner, UNSET)
        branding = msgspec.structs.replace(before or Branding(), **{name: sha256})
        await _change(owner, before, branding, {sha256: uploaded})


async def remove_picture(owner: Owner, name: str) -> None:
    """Remove a picture: one of :data:`idp.branding.models.PICTURES`.

    Raises:
        NoBrandingError: there is none.
    """
    async with exclusive_change(TOPIC):
        before = await _expected(owner, UNSET)
        if before is None or getattr(before, name) is None:
            raise NoBrandingError("There is no such picture.")
        await _change(owner, before, msgspec.structs.replace(before, **{name: None}))


async def with_content(branding: Branding) -> dict[str, Any]:
    """Return the fields of a branding with its pictures as ``data:`` URLs, for another server."""
    found = await repository.pictures(branding.pictures)
    urls = {name: validation.data_url(found[value]) for name in PICTURES if (value := getattr(branding, name))}
    return msgspec.structs.asdict(branding) | urls


async def _expected(owner: Owner, expected: Expected) -> Branding | None:
    """Return the current branding if it is of the expected version, in the transaction of a change."""
    found = await current(owner)
    if expected is not UNSET and (found.created_at if found is not None else None) != expected:
        raise VersionConflictError
    return found.branding if found is not None else None


async def _change(
    owner: Owner, before: Branding | None, after: Branding | None, uploaded: Mapping[str, Picture] | None = None
) -> None:
    if after == before or (before is None and after == Branding()):
        return
    for sha256, found in (uploaded or {}).items():
        await repository.save_picture(sha256, found)
    try:
        await repository.insert(ids.uuid7(), owner, after, actor.get(), kept=KEPT)
    except asyncpg.ForeignKeyViolationError as error:
        raise UnknownOwnerError from error
    event = "client_branding_set" if owner.kind == "client" else "organization_branding_set"
    await record("branding_set" if owner.kind == "server" else event, **_about(owner, before, after))


def _about(owner: Owner, before: Branding | None, after: Branding | None) -> About:
    detail: dict[str, Any] = {"before": shown(before), "after": shown(after)}
    if owner.organization_id is not None:
        detail["organization_id"] = str(owner.organization_id)
    return {"client_id": owner.client_id, "detail": detail}


def shown(branding: Branding | None) -> dict[str, Any]:
    """Return the values that are set."""
    found = branding or Branding()
    return {name: value for name in FIELDS if (value := getattr(found, name))}
