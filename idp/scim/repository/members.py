"""The statements that read the members of an organization, for its SCIM clients.

Of an account that the organization does not manage, they see the address and the names only: filters and orders, too,
so that a filter tells nothing of the rest. Of all accounts they see as disabled only what the organization disabled.
"""

from collections.abc import Collection
from typing import Any, Final
from uuid import UUID

from idp.directory.repository.member_states import is_at_domain, is_disabled_by
from idp.infra.db.engine import fetch, fetchrow
from idp.infra.db.rows import many, one
from idp.scim.attributes import USER
from idp.scim.repository.predicates import Column, Elements, Kind
from idp.scim.repository.search import Searched
from idp.scim.repository.users import ADDRESS, CLAIMS, ONE, SHOWN, GroupOfUser, StoredUser

#: Claims that the client sees of every member.
_NAMES: Final = frozenset({"name", "family_name", "given_name", "middle_name"})
_MANAGED: Final = f"(m.managed AND {is_at_domain('u.email', 'm.organization_id')})"
_ACTIVE: Final = f"(m.disabled_at IS NULL AND NOT {is_disabled_by('u', 'm.organization_id')})"


def _own(column: str) -> str:
    """Return the expression of a column of accounts that the organization manages."""
    return f"CASE WHEN {_MANAGED} THEN u.{column} END"


_CLAIM_COLUMNS: Final = {claim: f"u.{claim}" if claim in _NAMES else _own(claim) for claim in CLAIMS.values()}
_SELECT: Final = ", ".join(
    [
        "u.id", "u.email", "m.created_at", "u.updated_at", "u.directory_version", "x.external_id",
        f"CASE WHEN NOT {_ACTIVE} THEN coalesce(m.disabled_at, u.disabled_at) END AS disabled_at",
        f"{_MANAGED} AS managed",
        f"{_own('phone_number')} AS phone_number", f"{_own('address')} AS address",
        *(f"{sql} AS {claim}" for claim, sql in _CLAIM_COLUMNS.items()),
    ]
)  # fmt: skip
# Of each member the roles that were given in the organization. $2 organization
_ROLES: Final = """
SELECT h.user_id, r.id, r.name, true AS direct FROM user_role AS h JOIN role AS r ON r.id = h.role_id
WHERE h.user_id = ANY ($1::uuid[]) AND h.organization_id = $2 AND r.organization_id = $2
"""

MEMBERS: Final = Searched(
    resource=USER,
    select=_SELECT,
    source="organization_member AS m JOIN users AS u ON u.id = m.user_id LEFT JOIN scim_member AS x"
    " ON x.user_id = m.user_id AND x.organization_id = m.organization_id AND x.origin = $1",
    id="m.user_id",
    table="",
    shown=f"m.organization_id = $2::uuid AND {SHOWN}",
    columns={
        "id": Column("m.user_id", Kind.ID, nullable=False),
        "externalid": Column("x.external_id", Kind.EXACT),
        "meta.resourcetype": Column("'User'", Kind.EXACT, nullable=False, constant=True),
        "meta.created": Column("m.created_at", Kind.TIME, nullable=False),
        "meta.lastmodified": Column("u.updated_at", Kind.TIME, nullable=False),
        "username": Column("u.email", Kind.EMAIL, nullable=False),
        "active": Column(_ACTIVE, Kind.BOOLEAN, nullable=False),
        "name.formatted": Column("u.name"),
        **{name.lower(): Column(_CLAIM_COLUMNS[claim]) for name, claim in CLAIMS.items()},
        "emails": Elements({"value": Column("u.email", Kind.EMAIL, nullable=False), **ONE}, "({})", single=True),
        "phonenumbers": Elements(
            {"value": Column("u.phone_number"), **ONE}, f"({_MANAGED} AND u.phone_number <> '' AND {{}})"
        ),
        "addresses": Elements(
            {**{name.lower(): Column(f"u.address ->> '{member}'") for name, member in ADDRESS.items()}, **ONE},
            f"({_MANAGED} AND u.address IS NOT NULL AND {{}})",
        ),
        "groups": Elements(
            {
                "value": Column("g.id", Kind.ID),
                "display": Column("g.name"),
                "type": Column("'direct'", constant=True),
            },
            "m.user_id IN (SELECT h.user_id FROM user_role AS h JOIN role AS g ON g.id = h.role_id"
            " WHERE h.organization_id = $2 AND g.organization_id = $2 AND {})",
        ),
    },
)

_BY_ID: Final = f"SELECT {_SELECT} FROM {MEMBERS.source} WHERE m.user_id = $3 AND {MEMBERS.shown}"  # noqa: S608


class StoredMember(StoredUser, frozen=True, kw_only=True):
    """A member as SCIM shows it. ``created_at`` is that of the membership.

    Attributes:
        disabled_at: since when the organization has disabled the membership, or the account that it made.
        managed: the organization made the account, which has an address at one of its verified domains.
    """

    managed: bool


async def member(origin: str, organization_id: UUID, user_id: UUID) -> StoredMember | None:
    """Return a member, with the ``externalId`` of a client."""
    return one(StoredMember, await fetchrow(_BY_ID, origin, organization_id, user_id))


def read_members(rows: Collection[Any]) -> list[StoredMember]:
    """Return the members of the rows of a search."""
    return many(StoredMember, rows)


async def roles_of(user_ids: Collection[UUID], organization_id: UUID) -> dict[UUID, list[GroupOfUser]]:
    """Return the roles of members, by user, in the order of their names."""
    found: dict[UUID, list[GroupOfUser]] = {}
    for role in sorted(
        many(GroupOfUser, await fetch(_ROLES, list(user_ids), organization_id)), key=lambda role: (role.name, role.id)
    ):
        found.setdefault(role.user_id, []).append(role)
    return found
