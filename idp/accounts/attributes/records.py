"""Attributes in the records of imported and exported users: an object, or a column for each."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from idp.accounts.attributes import repository
from idp.accounts.attributes.errors import InvalidValueError
from idp.accounts.attributes.forms import texts
from idp.accounts.attributes.models import Attribute, Audience, Value
from idp.accounts.attributes.registry import attributes
from idp.accounts.attributes.search import PREFIX
from idp.accounts.attributes.values import checked, parse
from idp.accounts.import_files import MalformedRecordError

#: The column with all attributes, as an object of JSON.
COLUMN = "attributes"

#: Values by the name of their attribute.
Values = Mapping[str, Sequence[Value]]


def columns() -> frozenset[str]:
    """Return the columns of the declared attributes."""
    return frozenset({COLUMN, *(f"{PREFIX}{one.name}" for one in attributes.all())})


def read(record: Mapping[str, Any], audience: Audience) -> dict[str, list[Value]]:
    """Return the values of a record, checked.

    Text in a column of its own is read as in a form: several values stand on a line each.

    Raises:
        MalformedRecordError: an attribute is not declared, or the audience may not edit it, or a value is not valid.
    """
    given = _object(record.get(COLUMN))
    for name, value in record.items():
        if name.startswith(PREFIX):
            attribute = _declared(name.removeprefix(PREFIX))
            given[attribute.name] = parse(attribute, value) if isinstance(value, str) else value
    for name, value in given.items():
        if value not in (None, "", []) and not _declared(name).is_editable(audience):
            raise MalformedRecordError(f"Only an owner may import the attribute {name}. Leave it out.")
    try:
        found = {name: checked(_declared(name), value) for name, value in given.items()}
    except InvalidValueError as error:
        raise MalformedRecordError(f"The attribute {error.field}: {error}") from error
    return {name: values for name, values in found.items() if values}


def _object(value: object) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise MalformedRecordError("The attributes are not a JSON object.") from error
    if value is not None and not isinstance(value, dict):
        raise MalformedRecordError("The attributes are not a JSON object.")
    return dict(value or {})


def _declared(name: str) -> Attribute:
    attribute = attributes.get(name)
    if attribute is None:
        raise MalformedRecordError(f"There is no attribute “{name[:60]}”.")
    return attribute


async def insert(users: Iterable[tuple[UUID, Values]], audience: Audience) -> None:
    """Store the values of new users, in the transaction that inserts them.

    Attributes are left out that are gone, or that the audience may no longer edit.
    """
    new = [(user_id, name, values) for user_id, found in users for name, values in found.items()]
    if new:
        declared = await repository.hold_attributes({name for _user_id, name, _values in new})
        await repository.insert_values(
            (user_id, declared[name], values)
            for user_id, name, values in new
            if name in declared and declared[name].is_editable(audience)
        )


def as_columns(values: Mapping[str, Any]) -> dict[str, str]:
    """Return JSON by attribute as text by column, which :func:`read` reads."""
    return {f"{PREFIX}{name}": "\n".join(texts(value)) for name, value in values.items()}
