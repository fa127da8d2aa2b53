"""The values of users: reading and changing them.

Every change increases ``users.directory_version``. Its audit event has the names of the attributes, and no values.
"""

from collections.abc import Collection, Iterable, Mapping
from itertools import groupby
from typing import Any
from uuid import UUID

from idp.accounts.attributes import repository
from idp.accounts.attributes.errors import InvalidValueError, NotEditableError, UndeclaredError
from idp.accounts.attributes.models import Attribute, Audience, Type, Value, in_order
from idp.accounts.attributes.registry import attributes
from idp.accounts.attributes.values import checked
from idp.accounts.repository import users
from idp.audit.events import record
from idp.errors import NotFoundError
from idp.infra.db.engine import transaction
from idp.infra.i18n import gettext as _


class UnknownUserError(NotFoundError):
    """There is no such user."""

    def __init__(self) -> None:
        super().__init__("There is no such user.")


async def values(user_id: UUID, audience: Audience = Audience.OWNER) -> dict[str, Any]:
    """Return the values of a user as JSON by attribute, those that the audience sees. Empty ones are left out.

    A multi-valued attribute is a list.
    """
    visible = attributes.visible(audience)
    return _shaped(await repository.values_of_user(user_id), visible) if visible else {}


async def stored_values(user_id: UUID, audience: Audience = Audience.OWNER) -> dict[str, Any]:
    """As :func:`values`, by the declarations in the database, so that a change is seen by the one who made it."""
    visible = [one for one in await repository.attributes() if one.is_visible(audience)]
    return _shaped(await repository.values_of_user(user_id), visible)


async def values_of_users(user_ids: Collection[UUID]) -> dict[UUID, dict[str, Any]]:
    """As :func:`values`, for several users. Those without values are left out."""
    stored = await repository.values_of_users(user_ids)
    return {user_id: _shaped(values, attributes.all()) for user_id, values in stored.items()}


def _shaped(stored: Iterable[tuple[str, Value]], declared: Iterable[Attribute]) -> dict[str, Any]:
    known = {one.name: one for one in declared}
    by_name = {name: [value for _name, value in group] for name, group in groupby(stored, lambda one: one[0])}
    return {
        name: known[name].shape([_exact(known[name], value) for value in found])
        for name, found in by_name.items()
        if name in known
    }


def _exact(attribute: Attribute, value: Value) -> Value:
    return int(value) if attribute.type is Type.INTEGER else value


async def missing(user_id: UUID, names: Collection[str]) -> list[Attribute]:
    """Return the attributes of which a user has no value and could enter one, in the order of pages.

    By the declarations in the database: two servers must agree on what is missing, or one would send the browser to
    the other again and again.
    """
    found = await repository.missing(user_id, names) if names else []
    return in_order(one for one in found if one.is_editable(Audience.PERSON))


def check_entered(
    declared: Iterable[Attribute], entered: Mapping[str, Any], required: Collection[str]
) -> dict[str, Any]:
    """Check values before they can be stored, and return those that are no longer empty.

    Raises:
        InvalidValueError: a value is not valid, or one that is required is empty.
    """
    found = {one.name: checked(one, entered.get(one.name)) for one in declared}
    for name in required:
        if not found.get(name):
            raise InvalidValueError(name, _("Enter a value."))
    return {name: entered[name] for name, values in found.items() if values}


async def change(
    user_id: UUID,
    changes: Mapping[str, Any],
    audience: Audience = Audience.OWNER,
    *,
    required: Collection[str] = (),
    expected: Mapping[str, Any] | None = None,
    origin: str | None = None,
    by_import: bool = False,
) -> list[str] | None:
    """Change values of a user. Joins the caller's transaction.

    Values that stay the same are not checked again, so that a form can be saved after a declaration became stricter.

    Args:
        changes: JSON by attribute. None, an empty text and an empty list remove the values.
        audience: who changes them.
        required: attributes that must have a value afterwards.
        expected: the values that the caller has read, as the audience sees them.
        origin: what sets the values, if not a user or an administrator.
        by_import: whether an import does, which goes on changing the user.

    Returns:
        the names of the attributes whose values are others now; None if the values are not the expected ones.

    Raises:
        InvalidValueError: a value is not valid, or an attribute is not declared, or has no value although it must.
        NotEditableError: the audience may not edit one of the attributes.
        UnknownUserError: there is no such user.
    """
    async with transaction():
        if not await users.lock_user(user_id):
            raise UnknownUserError
        if expected is not None and await stored_values(user_id, audience) != expected:
            return None
        declared = await repository.hold_attributes({*changes, *required})
        for name in changes:
            if name not in declared:
                raise UndeclaredError(name)
            if not declared[name].is_editable(audience):
                raise NotEditableError
        before = _shaped(await repository.values_of_user(user_id), declared.values())
        new = {name: checked(declared[name], given) for name, given in changes.items() if given != before.get(name)}
        for name in declared.keys() & set(required):
            if not new.get(name, name in before):
                raise InvalidValueError(name, _("Enter a value."))
        changed = {
            name: found
            for name, found in new.items()
            if (declared[name].shape(found) if found else None) != before.get(name)
        }
        if changed:
            await users.increase_directory_version([user_id])
            if not by_import:
                await users.mark_changed([user_id])
            await repository.delete_values(user_id, changed)
            values_ = ((user_id, declared[name], found) for name, found in changed.items())
            await repository.insert_values(values_, origin)
            await record("attributes_changed", user_id=user_id, detail={"attributes": sorted(changed)})
    return sorted(changed)
