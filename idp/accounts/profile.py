"""The profile: standard claims that users change themselves (OpenID Connect Core section 5.1)."""

import re
import zoneinfo
from collections.abc import Callable, Mapping
from datetime import date, datetime
from functools import cache
from urllib.parse import urlsplit
from uuid import UUID

import msgspec

from idp.accounts.claims import ADDRESS_MEMBERS
from idp.accounts.last_owner import check_owner_remains
from idp.accounts.repository import pictures, users
from idp.accounts.tables import User
from idp.accounts.users import MAX_NAME_LENGTH, SignOut
from idp.audit.events import record
from idp.errors import ValidationError, VersionConflictError
from idp.infra.db.engine import transaction
from idp.infra.i18n import gettext as _

MAX_URL_LENGTH = 500
MAX_ADDRESS_LENGTH = 1000


class InvalidProfileError(ValidationError):
    """Values are not valid for their claims. The message is the sentence for the first one.

    Attributes:
        field: the name of the first one's claim.
        errors: a sentence for each of them, by the name of the claim.
    """

    code = "invalid_profile"
    field: str

    def __init__(self, errors: Mapping[str, str]) -> None:
        self.field, message = next(iter(errors.items()))
        self.errors = errors
        super().__init__(message)


def _text(value: str) -> str | None:
    return value if len(value) <= MAX_NAME_LENGTH and value.isprintable() else None


def web_address(value: str) -> str | None:
    """Return a whole http(s) URL of up to :data:`MAX_URL_LENGTH` characters, or None."""
    if len(value) > MAX_URL_LENGTH:
        # Checked first, because urlsplit normalises the host.
        return None
    try:
        parts = urlsplit(value)
    except ValueError:
        return None
    fits = parts.scheme in ("https", "http") and bool(parts.hostname) and value.isprintable() and " " not in value
    return value if fits else None


def _birthdate(value: str) -> str | None:
    """Return a date, a year, or a date with the year 0000, which means unknown."""
    if not re.fullmatch(r"\d{4}(-\d{2}-\d{2})?", value, re.ASCII):
        return None
    try:
        # A leap year, for a birthday of an unknown year.
        date.fromisoformat(value.replace("0000-", "2000-", 1) if "-" in value else f"{value}-01-01")
    except ValueError:
        return None
    return value


def _zone(value: str) -> str | None:
    return value if value in time_zones() else None


def _language(value: str) -> str | None:
    """Return a language tag with the syntax of BCP 47."""
    return value if re.fullmatch(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}", value) else None


def _phone(value: str) -> str | None:
    """Return a number in E.164 format. Spaces and punctuation are removed."""
    bare = re.sub(r"[ ().-]", "", value)
    return bare if re.fullmatch(r"\+[1-9]\d{4,14}", bare, re.ASCII) else None


@cache
def time_zones() -> frozenset[str]:
    """Return the names of the time zone database."""
    return frozenset(zoneinfo.available_timezones())


#: The claims of the profile with their validators, which return None for an invalid value.
FIELDS: Mapping[str, Callable[[str], str | None]] = {
    "name": _text,
    "given_name": _text,
    "family_name": _text,
    "middle_name": _text,
    "nickname": _text,
    "preferred_username": _text,
    "profile": web_address,
    "picture": web_address,
    "website": web_address,
    "gender": _text,
    "birthdate": _birthdate,
    "zoneinfo": _zone,
    "locale": _language,
    "phone_number": _phone,
}


async def update_profile(user: User, entered: Mapping[str, str]) -> bool:
    """Replace the profile. Names other than :data:`FIELDS` and the members of the address are ignored.

    Args:
        entered: values by claim. Missing and empty claims are removed. Members of the address are named
            ``address.locality`` and so on.

    Returns:
        False if the user has changed since it was read.

    Raises:
        InvalidProfileError: a value is not valid.
    """
    claims, address = validated(entered)
    stored = msgspec.json.encode(address).decode() if address else None
    async with transaction():
        if not await users.update_profile(user.id, user.updated_at, claims, stored):
            return False
        if claims["picture"] != user.picture:
            # The URL of an uploaded one is gone, and so is the picture.
            await pictures.delete_picture(user.id)
        await record("profile_changed", user_id=user.id)
    return True


def validated(entered: Mapping[str, str]) -> tuple[dict[str, str | None], dict[str, str]]:
    """Return the claims and the address of a profile as :func:`update_profile` gets it.

    Raises:
        InvalidProfileError: values are not valid.
    """
    errors: dict[str, str] = {}
    claims = {name: _validate(name, entered.get(name, "").strip(), errors) for name in FIELDS}
    address = _validate_address(entered, errors)
    if errors:
        raise InvalidProfileError(errors)
    return claims, address


def _validate(name: str, text: str, errors: dict[str, str]) -> str | None:
    value = FIELDS[name](text) if text else None
    if text and value is None:
        errors[name] = _message(name)
    return value


def _message(name: str) -> str:
    if FIELDS[name] is web_address:
        return _("Enter a complete link, such as https://example.com/me.")
    special = {
        "birthdate": _("The birthday must look like 1990-12-31."),
        "zoneinfo": _("Choose a time zone from the list."),
        "locale": _("The language must look like en or pt-BR."),
        "phone_number": _("The phone number must begin with + and the country, such as +44 20 7946 0000."),
    }
    return special.get(name) or _("The value is too long, or contains characters that cannot be shown.")


def _validate_address(entered: Mapping[str, str], errors: dict[str, str]) -> dict[str, str]:
    members = {name: entered.get(f"address.{name}", "").replace("\r\n", "\n").strip() for name in ADDRESS_MEMBERS}
    for name, text in members.items():
        if len(text) > MAX_ADDRESS_LENGTH or not text.replace("\n", "").isprintable():
            errors[f"address.{name}"] = _("The value is too long, or contains characters that cannot be shown.")
    return {name: text for name, text in members.items() if text}


async def delete_user(user_id: UUID, sign_out: SignOut, *, expected_at: datetime | None = None) -> bool:
    """Delete a user and all rows that reference them. Their audit events stay, with the id.

    Args:
        sign_out: ends all sessions and tokens first, so that applications learn of it.
        expected_at: the ``updated_at`` of the user as the caller has read it.

    Raises:
        LastOwnerError: this is the last owner.
        VersionConflictError: the user has changed since, or is deleted.
    """
    async with transaction():
        if not await users.lock_user(user_id, expected_at) and expected_at is not None:
            raise VersionConflictError
        await check_owner_remains(user_id)
        await sign_out(user_id, "user_deleted")
        await record("user_deleted", user_id=user_id)
        return await users.delete_user(user_id)
