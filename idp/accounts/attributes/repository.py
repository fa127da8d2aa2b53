"""Every statement on declared attributes and the values of users."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

import msgspec

from idp.accounts.attributes.models import Attribute, StoredAttribute, Type, Value
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import known, many

_DECLARED = """
    name, config, created_at, updated_at,
    EXISTS (SELECT FROM attribute_job AS j WHERE j.attribute = a.name AND j.kind = 'index') AS indexing
"""
_ATTRIBUTES = f"SELECT {_DECLARED} FROM attribute AS a WHERE a.deleted_at IS NULL"  # noqa: S608
_ALL = f"{_ATTRIBUTES} ORDER BY name"
_LOCK = f"{_ATTRIBUTES} AND name = $1 FOR UPDATE"
# In the order of the names, so that two transactions do not deadlock.
_HOLD = f"{_ATTRIBUTES} AND name = ANY ($1::text[]) ORDER BY name FOR SHARE"
_INSERT = """
    INSERT INTO attribute (name, config, created_at, updated_at) VALUES ($1, $2, now(), now())
    ON CONFLICT DO NOTHING RETURNING name, config, created_at, updated_at
"""
_UPDATE = """
    UPDATE attribute SET config = $2, updated_at = now() WHERE name = $1
    RETURNING name, config, created_at, updated_at
"""
_DELETE = "UPDATE attribute SET deleted_at = now() WHERE name = $1"
# Whoever saves an access policy holds its attributes: it is there already, or comes after the change.
_USED_BY = """
SELECT c.metadata ->> 'client_name' AS name
FROM access_policy_attribute AS p JOIN client AS c ON c.client_id = p.client_id WHERE p.attribute = $1
ORDER BY 1 LIMIT 10
"""
_COUNT_CLIENTS = "SELECT count(*) AS number FROM client WHERE client_id = ANY ($1::text[])"
_COUNT_VALUES = "SELECT count(*) AS number FROM user_attribute WHERE attribute = $1"
_VALUES_OF_USERS = """
    SELECT user_id, attribute, text_value, number_value, boolean_value, date_value FROM user_attribute
    WHERE user_id = ANY ($1::uuid[]) ORDER BY user_id, attribute, position
"""
_VALUES = """
    SELECT attribute, text_value, number_value, boolean_value, date_value FROM user_attribute
    WHERE user_id = $1 ORDER BY attribute, position
"""
# Declarations of which a user has no value.
_MISSING = f"""
    {_ATTRIBUTES} AND a.name = ANY ($2::text[])
    AND NOT EXISTS (SELECT FROM user_attribute AS v WHERE v.user_id = $1 AND v.attribute = a.name)
"""
_ORIGINS = "SELECT DISTINCT attribute, origin FROM user_attribute WHERE user_id = $1"
_DELETE_VALUES = "DELETE FROM user_attribute WHERE user_id = $1 AND attribute = ANY ($2::text[])"
#: The text that a search compares, of the value ``v``. It is short enough for an index.
SEARCH_KEY = """
    coalesce(left(lower(v.text_value), 200), v.number_value::text, v.boolean_value::text, v.date_value::text)
"""
_INSERT_VALUES = f"""
    INSERT INTO user_attribute
        (user_id, attribute, position, text_value, number_value, boolean_value, date_value, search_key, origin)
    SELECT v.user_id, v.attribute, v.position, v.text_value, v.number_value, v.boolean_value, v.date_value,
           CASE WHEN (a.config ->> 'searchable')::boolean THEN {SEARCH_KEY} END, v.origin
    FROM jsonb_populate_recordset(NULL::user_attribute, $1::jsonb) AS v JOIN attribute AS a ON a.name = v.attribute
"""  # noqa: S608

ATTRIBUTES = Listing(
    source="attribute AS a",
    columns=_DECLARED,
    key=Sort("a.name", "text"),
    sorts={"name": Sort("a.name", "text")},
    default_sort="name",
    where="a.deleted_at IS NULL",
    filters={"name": Filter("a.name = {}", help="One attribute.")},
)


class _Values(msgspec.Struct, frozen=True):
    """A value of a user, in the column of its type."""

    attribute: str
    text_value: str | None
    number_value: float | None
    boolean_value: bool | None
    date_value: date | None


class _ValuesOfUsers(_Values, frozen=True):
    """A value with its user."""

    user_id: UUID


def read(row: Mapping[str, Any]) -> StoredAttribute:
    """Return the declaration of a row."""
    values = dict(row)
    return msgspec.convert(msgspec.json.decode(values.pop("config")) | values, StoredAttribute)


def _config(attribute: Attribute) -> str:
    values = {name: getattr(attribute, name) for name in Attribute.__struct_fields__ if name != "name"}
    return msgspec.json.encode(values).decode()


async def attributes() -> list[StoredAttribute]:
    """Return all declarations, by name."""
    return known(read, await fetch(_ALL), "attribute")


async def lock_attribute(name: str) -> StoredAttribute | None:
    """Return a declaration, locked until the end of the transaction: no value of it can be changed meanwhile."""
    row = await fetchrow(_LOCK, name)
    return read(row) if row is not None else None


async def hold_attributes(names: Collection[str]) -> dict[str, StoredAttribute]:
    """Return declarations by name, unchanged until the end of the transaction."""
    return {row["name"]: read(row) for row in await fetch(_HOLD, list(names))}


async def insert_attribute(attribute: Attribute) -> StoredAttribute | None:
    """Returns None if the name is taken."""
    row = await fetchrow(_INSERT, attribute.name, _config(attribute))
    return read(row) if row is not None else None


async def update_attribute(attribute: Attribute) -> StoredAttribute:
    """Replace a declaration that the caller has locked."""
    (row,) = await fetch(_UPDATE, attribute.name, _config(attribute))
    return read(row)


async def delete_attribute(name: str) -> None:
    """Delete a declaration that the caller has locked. No statement finds it any more; its values are still there."""
    await execute(_DELETE, name)


async def count_clients(client_ids: Collection[str]) -> int:
    """Return the number of existing clients among these ids."""
    (row,) = await fetch(_COUNT_CLIENTS, list(client_ids))
    return int(row["number"])


async def clients_using_attribute(name: str) -> list[str]:
    """Return the names of up to ten clients whose access policies name an attribute. The caller has locked it."""
    return [row["name"] for row in await fetch(_USED_BY, name)]


async def count_values(name: str) -> int:
    """Return the number of values of an attribute, of all users."""
    (row,) = await fetch(_COUNT_VALUES, name)
    return int(row["number"])


async def values_of_user(user_id: UUID) -> list[tuple[str, Value]]:
    """Return the names of attributes with each value of a user, in order. Numbers are floating-point."""
    return [(row.attribute, _value(row)) for row in many(_Values, await fetch(_VALUES, user_id))]


async def values_of_users(user_ids: Collection[UUID]) -> dict[UUID, list[tuple[str, Value]]]:
    """As :func:`values_of_user`, for several users. Those without values are left out."""
    found: dict[UUID, list[tuple[str, Value]]] = {}
    for row in many(_ValuesOfUsers, await fetch(_VALUES_OF_USERS, list(user_ids))):
        found.setdefault(row.user_id, []).append((row.attribute, _value(row)))
    return found


def _value(row: _Values) -> Value:
    if row.date_value is not None:
        return row.date_value.isoformat()
    given: tuple[Value | None, ...] = (row.text_value, row.number_value, row.boolean_value)
    return next(each for each in given if each is not None)


async def missing(user_id: UUID, names: Collection[str]) -> list[StoredAttribute]:
    """Return those of the declarations of which a user has no value."""
    return [read(row) for row in await fetch(_MISSING, user_id, list(names))]


async def origins_of_values(user_id: UUID) -> dict[str, str | None]:
    """Return what set the values of a user, by attribute. None: a user or an administrator."""
    return {row["attribute"]: row["origin"] for row in await fetch(_ORIGINS, user_id)}


async def delete_values(user_id: UUID, names: Collection[str]) -> None:
    """Delete the values of some attributes of a user."""
    await execute(_DELETE_VALUES, user_id, list(names))


async def insert_values(values: Iterable[tuple[UUID, Attribute, Sequence[Value]]], origin: str | None = None) -> None:
    """Insert the values of users who have none of these attributes. The caller holds the declarations."""
    rows = [
        {"user_id": user_id, "attribute": attribute.name, "position": position, "origin": origin}
        | {_COLUMNS[attribute.type]: value}
        for user_id, attribute, several in values
        for position, value in enumerate(several)
    ]
    if rows:
        await execute(_INSERT_VALUES, msgspec.json.encode(rows).decode())


_COLUMNS = dict.fromkeys(Type, "text_value") | {
    Type.INTEGER: "number_value",
    Type.NUMBER: "number_value",
    Type.BOOLEAN: "boolean_value",
    Type.DATE: "date_value",
}
#: The comparison of a search, by the type of the value that is given. A key that is shorter than the longest one is the
#: whole text; PostgreSQL, which has no statistics of lower(text_value), then knows how many users a value has.
_EQUALS = {
    "text": "v.search_key = left(lower({}), 200) AND (length(lower({})) < 200 OR lower(v.text_value) = lower({}))",
    "double precision": "v.search_key = ({})::text",
    "boolean": "v.search_key = ({})::text",
    "date": "v.search_key = ({})::text",
}
_SQL_TYPES = {
    "text_value": "text",
    "number_value": "double precision",
    "boolean_value": "boolean",
    "date_value": "date",
}


def search(attribute: Attribute) -> Filter:
    """Return the filter of users ``u`` by a value of a searchable attribute, without regard to case."""
    kind = _SQL_TYPES[_COLUMNS[attribute.type]]
    # A declared name has only lower-case letters, digits and underscores.
    named = f"v.attribute = '{attribute.name}' AND {_EQUALS[kind]}"
    keys = f"SELECT v.user_id AS id FROM user_attribute AS v WHERE {named}"  # noqa: S608
    return Filter(type=kind, help="With this value.", keys=keys)
