"""The statements that read users and their groups, for SCIM. The changes are those of :mod:`idp.accounts`."""

from collections.abc import Collection, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

import msgspec

from idp.accounts.attributes.models import Attribute, Type
from idp.accounts.attributes.repository import search
from idp.accounts.attributes.values import to_date
from idp.accounts.tables import Origin
from idp.infra.db.engine import fetch, fetchrow
from idp.infra.db.rows import many, one
from idp.scim.attributes import USER
from idp.scim.extensions import extension
from idp.scim.filters import Path, Value
from idp.scim.repository.predicates import Column, Elements, Kind
from idp.scim.repository.search import Searched

#: The columns of claims, by the attributes of their values (RFC 7643 section 4.1, OpenID Connect Core section 5.1).
CLAIMS: Mapping[str, str] = {
    "displayName": "name",
    "name.familyName": "family_name",
    "name.givenName": "given_name",
    "name.middleName": "middle_name",
    "nickName": "nickname",
    "profileUrl": "profile",
    "locale": "locale",
    "timezone": "zoneinfo",
}
#: The members of an address, by their sub-attributes.
ADDRESS: Mapping[str, str] = {
    "formatted": "formatted",
    "streetAddress": "street_address",
    "locality": "locality",
    "region": "region",
    "postalCode": "postal_code",
    "country": "country",
}
_STORED: Final = ("id", "email", "phone_number", "address", "created_at", "updated_at", "disabled_at")
_SELECT: Final = ", ".join(
    f"u.{name}" for name in (*_STORED, "directory_version", *CLAIMS.values())
) + ", x.external_id"  # fmt: skip
# Not accounts that anyone could have created with the address of another person.
SHOWN: Final = f"(u.email_verified OR u.origin NOT IN ('{Origin.REGISTRATION}', '{Origin.UPSTREAM}'))"
# Of each user the groups, those above them too. OFFSET 0: see idp.directory.repository.memberships.
_GROUPS: Final = """
SELECT a.id AS user_id, g.id, g.name, g.direct FROM unnest($1::uuid[]) AS a (id)
CROSS JOIN LATERAL (
    SELECT g.id, g.name, bool_or(g.id = held.group_id) AS direct
    FROM (
        SELECT m.group_id, unnest(d.path) AS id FROM group_member AS m
        CROSS JOIN LATERAL (SELECT path FROM groups WHERE id = m.group_id OFFSET 0) AS d WHERE m.user_id = a.id
    ) AS held CROSS JOIN LATERAL (SELECT id, name FROM groups WHERE id = held.id OFFSET 0) AS g
    GROUP BY g.id, g.name
) AS g
"""

ONE: Final = {
    "type": Column("'work'", nullable=False, constant=True),
    "primary": Column("true", Kind.BOOLEAN, nullable=False, constant=True),
}

_VALUES: Mapping[Type, Column] = {
    Type.INTEGER: Column("a.number_value", Kind.NUMBER),
    Type.NUMBER: Column("a.number_value", Kind.NUMBER),
    Type.BOOLEAN: Column("a.boolean_value", Kind.BOOLEAN),
    Type.DATE: Column("a.date_value::text", Kind.EXACT),
}


def _extended(path: Path) -> Elements | None:
    """Return the values of a declared attribute. A search key is the beginning of a text in lower case."""
    found = extension(USER, path.schema or "")
    named = found.find(path.attribute) if found is not None else None
    if named is None:
        return None
    declared = named[1]
    indexed = declared.searchable and not declared.indexing
    text = Column("a.search_key", Kind.KEY) if indexed else Column("a.text_value")
    # The name is an identifier of lower-case ASCII letters, digits and underscores.
    source = f"SELECT a.user_id FROM user_attribute AS a WHERE a.attribute = '{declared.name}'"  # noqa: S608
    column = _VALUES.get(declared.type, text)
    return Elements(
        {"value": column}, f"u.id IN ({source} AND {{}})", equal=partial(_equal, declared) if indexed else None
    )


def _equal(declared: Attribute, value: Value) -> tuple[str, str] | None:
    """Return a value of a searchable attribute as text, and the ids of its users. None: it is not of its type."""
    text: str | None = value if isinstance(value, str) else None
    if declared.type is Type.BOOLEAN:
        # Some clients quote it.
        text = str(value).lower() if str(value).lower() in ("true", "false") else None
    elif declared.type in (Type.INTEGER, Type.NUMBER):
        text = str(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else None
    elif declared.type is Type.DATE:
        text = text if to_date(value) is not None else None
    found = search(declared)
    return (text, found.keys.replace("{}", f"{{}}::{found.type}")) if text is not None else None


USERS: Final = Searched(
    resource=USER,
    select=_SELECT,
    source="users AS u LEFT JOIN scim_user AS x ON x.user_id = u.id AND x.origin = $1",
    id="u.id",
    table="users",
    shown=SHOWN,
    ordered=("u.email", "u.created_at", "u.updated_at", "u.name", "u.family_name"),
    extended=_extended,
    columns={
        "id": Column("u.id", Kind.ID, nullable=False),
        "externalid": Column("x.external_id", Kind.EXACT),
        "meta.resourcetype": Column("'User'", Kind.EXACT, nullable=False, constant=True),
        "meta.created": Column("u.created_at", Kind.TIME, nullable=False),
        "meta.lastmodified": Column("u.updated_at", Kind.TIME, nullable=False),
        "username": Column("u.email", Kind.EMAIL, nullable=False),
        "active": Column("u.disabled_at IS NULL", Kind.BOOLEAN, nullable=False),
        "name.formatted": Column("u.name"),
        **{name.lower(): Column(f"u.{column}") for name, column in CLAIMS.items()},
        "emails": Elements({"value": Column("u.email", Kind.EMAIL, nullable=False), **ONE}, "({})", single=True),
        "phonenumbers": Elements(
            {"value": Column("u.phone_number"), **ONE}, "(u.phone_number <> '' AND {})", single=True
        ),
        "addresses": Elements(
            {
                **{name.lower(): Column(f"u.address ->> '{member}'") for name, member in ADDRESS.items()},
                **ONE,
            },
            "(u.address IS NOT NULL AND {})",
            single=True,
        ),
        "groups": Elements(
            {
                "value": Column("g.id", Kind.ID),
                "display": Column("g.name"),
                "type": Column("CASE WHEN g.id = d.id THEN 'direct' ELSE 'indirect' END"),
            },
            "u.id IN (SELECT m.user_id FROM groups AS g JOIN groups AS d ON d.path @> ARRAY[g.id]"
            " JOIN group_member AS m ON m.group_id = d.id WHERE {})",
            below="SELECT m.user_id AS id FROM group_member AS m WHERE m.group_id {}",
        ),
    },
)


_BY_ID: Final = f"SELECT {_SELECT} FROM {USERS.source} WHERE u.id = $2 AND {SHOWN}"  # noqa: S608


class StoredUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user as SCIM shows it, without groups."""

    id: UUID
    email: str
    external_id: str | None
    name: str | None
    family_name: str | None
    given_name: str | None
    middle_name: str | None
    nickname: str | None
    profile: str | None
    locale: str | None
    zoneinfo: str | None
    phone_number: str | None
    address: str | None
    disabled_at: datetime | None
    created_at: datetime
    updated_at: datetime
    directory_version: int


class GroupOfUser(msgspec.Struct, frozen=True):
    """A group of a user. ``direct``: they were added to it, and not only to one below it."""

    user_id: UUID
    id: UUID
    name: str
    direct: bool


async def user(origin: str, user_id: UUID) -> StoredUser | None:
    """Return a user, with the ``externalId`` of a client."""
    return one(StoredUser, await fetchrow(_BY_ID, origin, user_id))


def read_users(rows: Collection[Any]) -> list[StoredUser]:
    """Return the users of the rows of a search."""
    return many(StoredUser, rows)


async def groups_of(user_ids: Collection[UUID]) -> dict[UUID, list[GroupOfUser]]:
    """Return the groups of users, by user, in the order of their names."""
    found: dict[UUID, list[GroupOfUser]] = {}
    for group in sorted(
        many(GroupOfUser, await fetch(_GROUPS, list(user_ids))), key=lambda group: (group.name, group.id)
    ):
        found.setdefault(group.user_id, []).append(group)
    return found
