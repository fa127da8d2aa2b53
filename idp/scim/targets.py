"""Reads what the document of a user wants the user to be.

The address is checked against the addresses that the client sends: an identity provider whose userName is not the
address of the mail would otherwise provision accounts under which nobody signs in.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from idp.accounts import profile
from idp.accounts.addresses import InvalidEmailError, normalise_email
from idp.accounts.tables import User
from idp.scim.attributes import WORK
from idp.scim.errors import InvalidValueError
from idp.scim.extensions import changes
from idp.scim.patch import Document
from idp.scim.repository.users import ADDRESS, CLAIMS

MAX_EXTERNAL_ID: Final = 256


class Target(msgspec.Struct, frozen=True):
    """The values that a user is to have."""

    email: str
    entered: dict[str, str]
    external_id: str | None
    active: bool | None
    declared: dict[str, Any]


def entered_of(user: User) -> dict[str, str]:
    """Return the profile of a user as it is entered."""
    members = msgspec.json.decode(user.address) if user.address else {}
    return {name: getattr(user, name) or "" for name in profile.FIELDS} | {
        f"address.{member}": members.get(member) or "" for member in ADDRESS.values()
    }


def validated(entered: Mapping[str, str]) -> tuple[dict[str, str | None], dict[str, str]]:
    try:
        return profile.validated(entered)
    except profile.InvalidProfileError as error:
        raise InvalidValueError(f"{error.field}: {error.description}") from error


def target_of(document: Document, before: Document) -> Target:
    """Return what a document wants a user to be.

    Args:
        before: the document before the operations; empty: the user is new or replaced.

    Raises:
        InvalidValueError: a value is missing or not valid.
    """
    email = _email(document.get("userName"))
    _check_emails(document, before, email)
    parts = {}
    for path, claim in CLAIMS.items():
        attribute, _, sub = path.partition(".")
        value = (document.get(attribute) or {}).get(sub) if sub else document.get(attribute)
        parts[claim] = value or ""
    parts["name"] = _name(document, before)
    parts["phone_number"] = (_stored_element(document, before, "phoneNumbers") or {}).get("value") or ""
    address = _stored_element(document, before, "addresses") or {}
    parts |= {f"address.{member}": address.get(name) or "" for name, member in ADDRESS.items()}
    external_id = document.get("externalId")
    if external_id is not None and not (len(external_id) <= MAX_EXTERNAL_ID and external_id.isprintable()):
        raise InvalidValueError(f"externalId has up to {MAX_EXTERNAL_ID} characters that can be shown.")
    return Target(email, parts, external_id, document.get("active"), changes(before, document))


def _email(value: str | None) -> str:
    if value is None:
        raise InvalidValueError("userName is missing.")
    try:
        return normalise_email(value)
    except InvalidEmailError as error:
        raise InvalidValueError("userName must be an email address.") from error


def _check_emails(document: Document, before: Document, email: str) -> None:
    for element in document.get("emails") or []:
        if element in before.get("emails", []) or not (_is_work(element) or element.get("primary")):
            continue
        try:
            same = normalise_email(element.get("value") or "") == email
        except InvalidEmailError:
            same = False
        if not same:
            raise InvalidValueError(
                "The primary address must be the userName. In your identity provider, map userName to the address."
            )


def _is_work(element: Document) -> bool:
    return (element.get("type") or WORK).lower() == WORK


def _stored_element(document: Document, before: Document, name: str) -> Document | None:
    """Return the element that is stored: of those of the type work the new one, the primary one, or else the last."""
    work = [element for element in document.get(name) or [] if _is_work(element)]
    new = [element for element in work if element not in before.get(name, [])] or work
    primary = [element for element in new if element.get("primary")] or new
    return primary[-1] if primary else None


def _name(document: Document, before: Document) -> str:
    """Return the whole name, of which ``name.formatted`` is another spelling. ``displayName`` wins."""
    display, formatted = document.get("displayName"), (document.get("name") or {}).get("formatted")
    if not before:
        return display or formatted or ""
    changed = display if display != before.get("displayName") else formatted
    return changed or ""
