"""Declaring attributes. Each change is one transaction with its cache invalidation and its audit event."""

import re
import unicodedata
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from idp.accounts.attributes import repository, values
from idp.accounts.attributes.errors import (
    AttributeBeingDeletedError,
    AttributeInUseError,
    InvalidAttributeError,
    UnknownAttributeError,
)
from idp.accounts.attributes.jobs import repository as jobs
from idp.accounts.attributes.jobs.runner import work_at_once
from idp.accounts.attributes.models import (
    DEFAULT,
    MAX_ATTRIBUTES,
    MAX_LENGTH,
    Attribute,
    StoredAttribute,
    Type,
)
from idp.accounts.attributes.registry import TOPIC
from idp.accounts.claims import CLAIMS_BY_SCOPE, DIRECTORY_CLAIMS, PROTECTED_CLAIMS
from idp.audit.events import record
from idp.infra.db.cache_invalidation import exclusive_change
from idp.infra.json_schema import is_pattern
from idp.infra.visible_text import INVISIBLE

#: Limits of a declaration.
MAX_LABEL, MAX_LABELS, MAX_CHOICE, MAX_CHOICES, MAX_PATTERN, MAX_CLIENTS = 100, 100, 200, 200, 200, 100
#: The members that cannot change, because values depend on them.
FIXED = ("name", "type", "multivalued")

_NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}")
#: A scope token (RFC 6749 section 3.3).
_TOKEN = re.compile(r"[!#-\[\]-~]{1,100}")
#: Readers of JSON that ignore case, and those of JavaScript objects, see no other name in it.
_CLAIM = re.compile(r"[A-Za-z][A-Za-z0-9_.:/-]{0,99}")
_STANDARD_CLAIMS = frozenset(claim for claims in CLAIMS_BY_SCOPE.values() for claim in claims)
_RESERVED = PROTECTED_CLAIMS | _STANDARD_CLAIMS | DIRECTORY_CLAIMS.keys()
#: The types with lengths and a pattern, and those with a range.
_TEXT, _RANGE = (Type.STRING,), (Type.INTEGER, Type.NUMBER, Type.DATE)


async def declare(**declared: Any) -> StoredAttribute:
    """Declare an attribute.

    Args:
        declared: the fields of :class:`Attribute`.

    Raises:
        InvalidAttributeError: a member is not valid, the name is taken, or there are too many attributes.
        AttributeBeingDeletedError: the values of an earlier attribute with the name are not deleted yet.
    """
    attribute = check(declared)
    async with exclusive_change(TOPIC):
        known = await repository.attributes()
        if len(known) >= MAX_ATTRIBUTES:
            raise InvalidAttributeError(f"There can be at most {MAX_ATTRIBUTES} attributes.")
        await _check_against(attribute, known)
        if any(one.name == attribute.name for one in known):
            raise InvalidAttributeError("An attribute with this name already exists.", "name")
        stored = await repository.insert_attribute(attribute)
        if stored is None:
            raise AttributeBeingDeletedError
        await record("attribute_declared", detail={"attribute": stored.name, "type": stored.type})
    return stored


async def update(name: str, expected: datetime | None = None, /, **changes: Any) -> StoredAttribute | None:
    """Change a declaration. Values that are stored stay, even if they would be refused now.

    Values that become searchable, or no longer are, are changed in the background. A few are when this returns.

    Args:
        expected: the ``updated_at`` that the caller has read.
        changes: the new values of fields of :class:`Attribute`; the others stay.

    Returns:
        the declaration; None if it has changed since ``expected``.

    Raises:
        UnknownAttributeError: there is no such attribute.
        InvalidAttributeError: a member is not valid, or one that cannot change is changed.
        AttributeInUseError: the access policy of a client names it, and people could edit it themselves.
    """
    number = await repository.count_values(name) if "searchable" in changes else 0
    async with exclusive_change(TOPIC):
        before = await _lock(name)
        if expected is not None and before.updated_at != expected:
            return None
        declared = {field: getattr(before, field) for field in Attribute.__struct_fields__}
        attribute = check(declared | changes)
        if fixed := [field for field in FIXED if getattr(attribute, field) != getattr(before, field)]:
            raise InvalidAttributeError(f"The {fixed[0]} cannot be changed. Declare another attribute.", fixed[0])
        await _check_against(attribute, await repository.attributes())
        if "person" in attribute.editable_by:
            await _check_unused(name)
        changed = [field for field in declared if getattr(attribute, field) != declared[field]]
        if not changed:
            return before
        stored = await repository.update_attribute(attribute)
        if "searchable" in changed:
            await jobs.note(name, "index" if attribute.searchable else "unindex", number)
        await record("attribute_updated", detail={"attribute": name, "changed": changed})
    if "searchable" in changed:
        await work_at_once(name)
    return stored


async def delete(name: str, expected: datetime | None = None) -> int | None:
    """Delete an attribute with the values of all users.

    It is gone at once, and the values are deleted in the background. A few are when this returns.
    Their ``directory_version`` stays: a process that remembers values drops them by the declaration.

    Returns:
        the number of values that go with it; None if the declaration has changed since ``expected``.

    Raises:
        UnknownAttributeError: there is no such attribute.
        AttributeInUseError: the access policy of a client names it.
    """
    number = await repository.count_values(name)
    async with exclusive_change(TOPIC):
        before = await _lock(name)
        if expected is not None and before.updated_at != expected:
            return None
        await _check_unused(name)
        await repository.delete_attribute(name)
        await jobs.note(name, "delete", number)
        await record("attribute_deleted", detail={"attribute": name, "values": number})
    await work_at_once(name)
    return number


async def _lock(name: str) -> StoredAttribute:
    stored = await repository.lock_attribute(name)
    if stored is None:
        raise UnknownAttributeError
    return stored


async def _check_unused(name: str) -> None:
    """
    Raises:
        AttributeInUseError: the access policy of a client names the attribute, which is locked.
    """
    if clients := await repository.clients_using_attribute(name):
        raise AttributeInUseError(clients)


async def _check_against(attribute: Attribute, others: Iterable[Attribute]) -> None:
    """Check what depends on other records.

    Raises:
        InvalidAttributeError: another attribute has the claim, or a client does not exist.
    """
    if attribute.claim is not None and any(
        one.claim == attribute.claim and one.name != attribute.name for one in others
    ):
        raise InvalidAttributeError("Another attribute is released in this claim.", "claim")
    clients = set(attribute.required_for) - {"*"}
    if clients and await repository.count_clients(clients) < len(clients):
        raise InvalidAttributeError("One of the clients does not exist.", "required_for")


def check(declared: dict[str, Any]) -> Attribute:
    """Validate a declaration.

    Raises:
        InvalidAttributeError: a member is missing, unknown or not valid.
    """
    try:
        attribute = msgspec.convert(declared, Attribute)
    except msgspec.ValidationError as error:
        raise InvalidAttributeError(f"The declaration is not valid: {error}.") from error
    if not _NAME.fullmatch(attribute.name):
        raise InvalidAttributeError(
            "The name must be 1 to 50 lower-case letters, digits and underscores, and begin with a letter.", "name"
        )
    if attribute.name in _RESERVED:
        raise InvalidAttributeError("A claim of OpenID Connect or of tokens has this name.", "name")
    _check_label(attribute)
    _check_limits(attribute)
    _check_choices(attribute)
    _check_audience(attribute)
    if attribute.scope is not None and attribute.claim is None:
        attribute = msgspec.structs.replace(attribute, claim=attribute.name)
    _check_release(attribute)
    return attribute


def _check_label(attribute: Attribute) -> None:
    if DEFAULT not in attribute.label or len(attribute.label) > MAX_LABELS:
        raise InvalidAttributeError(f"A label for {DEFAULT} is required, and others by their language.", "label")
    for language, text in attribute.label.items():
        if language != DEFAULT and not _LANGUAGE.fullmatch(language):
            raise InvalidAttributeError("The language of a label must be a tag such as de or pt-BR.", "label")
        if not _is_line(text, MAX_LABEL):
            raise InvalidAttributeError(f"A label must be one line of 1 to {MAX_LABEL} characters.", "label")


def _check_limits(attribute: Attribute) -> None:
    shortest, longest = attribute.min_length, attribute.max_length
    if (shortest, longest, attribute.pattern) != (None, None, None) and attribute.type not in _TEXT:
        raise InvalidAttributeError("Only text has a length or a pattern.")
    if not 0 <= (shortest or 0) <= (MAX_LENGTH if longest is None else longest) <= MAX_LENGTH or longest == 0:
        raise InvalidAttributeError(f"Lengths must be in order, and at most {MAX_LENGTH}.", "max_length")
    if attribute.pattern is not None and not (
        len(attribute.pattern) <= MAX_PATTERN and attribute.pattern.isprintable() and is_pattern(attribute.pattern)
    ):
        raise InvalidAttributeError(
            f"The pattern must be a regular expression of up to {MAX_PATTERN} characters without look-around and"
            " references to groups, and not too large.",
            "pattern",
        )
    limits = [limit for limit in (attribute.minimum, attribute.maximum) if limit is not None]
    if limits and attribute.type not in _RANGE:
        raise InvalidAttributeError("Only numbers and dates have a minimum and a maximum.", "minimum")
    for limit in limits:
        _check_limit(attribute, limit)
    if limits != sorted(limits):
        raise InvalidAttributeError("The minimum is more than the maximum.", "minimum")


def _check_limit(attribute: Attribute, limit: float | str) -> None:
    if attribute.type is Type.DATE:
        valid = values.to_date(limit) is not None
    else:
        # NaN compares as false.
        valid = not isinstance(limit, str) and abs(limit) <= values.MAX_NUMBER
        valid = valid and (attribute.type is Type.NUMBER or isinstance(limit, int))
    if not valid:
        raise InvalidAttributeError("The minimum and the maximum must be values of the attribute.", "minimum")


def _check_choices(attribute: Attribute) -> None:
    choices = attribute.choices
    if bool(choices) != (attribute.type is Type.CHOICE):
        raise InvalidAttributeError("An attribute of the type choice has choices, and no other has.", "choices")
    if len(choices) > MAX_CHOICES or len(set(choices)) < len(choices):
        raise InvalidAttributeError(f"There can be up to {MAX_CHOICES} choices, each once.", "choices")
    if not all(_is_line(choice, MAX_CHOICE) for choice in choices):
        raise InvalidAttributeError(f"A choice must be one line of 1 to {MAX_CHOICE} characters.", "choices")
    if attribute.multivalued and attribute.type is Type.BOOLEAN:
        raise InvalidAttributeError("A yes or no cannot have several values.", "multivalued")


def _check_audience(attribute: Attribute) -> None:
    if not set(attribute.editable_by) <= set(attribute.visible_to):
        raise InvalidAttributeError("Users who may edit an attribute must also be able to see it.", "editable_by")
    if "person" not in attribute.editable_by and (attribute.registration != "no" or attribute.required_for):
        raise InvalidAttributeError("People are asked only for what they may edit.", "editable_by")
    if len(attribute.required_for) > MAX_CLIENTS:
        raise InvalidAttributeError(f"Name up to {MAX_CLIENTS} clients, or * for all.", "required_for")


def _check_release(attribute: Attribute) -> None:
    if attribute.claim is not None and attribute.scope is None:
        raise InvalidAttributeError("A claim needs the scope with which clients get it.", "scope")
    if attribute.scope is not None and not _TOKEN.fullmatch(attribute.scope):
        raise InvalidAttributeError("The scope must be 1 to 100 ASCII characters, without spaces or quotes.", "scope")
    if attribute.claim is not None and not _is_free(attribute.claim):
        raise InvalidAttributeError(
            "The claim must be 1 to 100 letters, digits and _ . : / -, beginning with a letter, and no claim of OpenID"
            " Connect or of tokens.",
            "claim",
        )


def _is_free(claim: str) -> bool:
    return _CLAIM.fullmatch(claim) is not None and claim.lower() not in _RESERVED


def _is_line(text: str, length: int) -> bool:
    """Return whether text is one line of visible characters, in the form in which values are stored."""
    visible = 0 < len(text) <= length and text.isprintable() and not INVISIBLE.search(text)
    return visible and text == unicodedata.normalize("NFC", text.strip())
