"""Values of attributes of a user that come from one origin, such as an upstream, which says all of them each time."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from idp.accounts.attributes import repository, service
from idp.accounts.attributes.errors import InvalidValueError
from idp.accounts.attributes.models import Attribute, Type, Value
from idp.accounts.attributes.registry import attributes
from idp.accounts.attributes.values import checked, parse_one
from idp.infra.db.engine import transaction


async def replace(
    user_id: UUID, origin: str, given: Mapping[str, Sequence[Value]], kept: Collection[str] = ()
) -> list[str]:
    """Set the values that an origin gives now, and remove those that it gave before and gives no more.

    Values that a user, an administrator or another origin set stay. Nothing is written if nothing changes. Joins the
    caller's transaction, which has locked the user.

    Args:
        kept: attributes that keep what the origin gave before, although it gives nothing now.

    Returns:
        the attributes that do not exist or do not accept what is given. They stay as they are.
    """
    async with transaction():
        by = await repository.origins_of_values(user_id)
        own = {name: values for name, values in given.items() if values and by.get(name, origin) == origin}
        less = {name for name, set_by in by.items() if set_by == origin} - own.keys() - set(kept)
        stored = await service.values(user_id) if own else {}
        known = {name: attributes.get(name) for name in own}
        if not less and all(one and _shaped(one, own[name]) == stored.get(name) for name, one in known.items()):
            return []
        declared = await repository.hold_attributes(own.keys() | less)
        changes: dict[str, Any] = dict.fromkeys(less & declared.keys())
        refused = own.keys() - declared.keys()
        for name in own.keys() & declared.keys():
            value = _shaped(declared[name], own[name])
            try:
                checked(declared[name], value)
            except InvalidValueError:
                refused.add(name)
            else:
                changes[name] = value
        if changes:
            await service.change(user_id, changes, origin=origin)
    return sorted(refused)


def _shaped(attribute: Attribute, values: Sequence[Value]) -> Any:
    """Return values as JSON of an attribute: text that another type writes so becomes a value of that type."""
    text = attribute.type in (Type.STRING, Type.CHOICE)
    found: list[object] = list(
        dict.fromkeys(
            text_of(one) if text else parse_one(attribute.type, one) if isinstance(one, str) else one for one in values
        )
    )
    return found if attribute.multivalued or len(found) > 1 else found[0]


def text_of(value: Value) -> str:
    """Return a value as text, as JSON writes it."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
