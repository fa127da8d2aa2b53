"""The statements on the types of authorization details.

Changes run in a transaction of :func:`idp.oauth.clients.registration.change`, one after the other.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from idp import clock
from idp.infra.db.columns import all_columns
from idp.infra.db.engine import fetch, fetchrow
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import many, one
from idp.oauth.details.models import DetailsType, StoredDetailsType
from idp.oauth.details.tables import DetailsTypeRow

_TYPES = f"SELECT {all_columns(DetailsTypeRow)} FROM authorization_details_type"  # noqa: S608
_LOCK = f"{_TYPES} WHERE id = $1 FOR UPDATE"

DETAILS_TYPES = Listing(
    source="authorization_details_type AS d JOIN resource_server AS r ON r.identifier = d.resource",
    columns="d.id, d.type, d.resource, r.name AS resource_name, d.title, d.summary, d.schema, d.ask_always,"
    " d.created_at, d.updated_at",
    key=Sort("d.id", "text"),
    sorts={"type": Sort("d.type", "text")},
    default_sort="type",
    filters={
        "id": Filter("d.id = {}", help="One type, by the end of its path."),
        "type": Filter("d.type = {}", help="One type, by its name."),
        "resource": Filter("d.resource = {}", help="The types of a resource server."),
    },
)


async def types() -> list[StoredDetailsType]:
    """Return all types, by name."""
    return many(StoredDetailsType, await fetch(f"{_TYPES} ORDER BY type"))


async def lock_type(id: str) -> StoredDetailsType | None:
    """Return a type, locked until the end of the transaction."""
    return one(StoredDetailsType, await fetchrow(_LOCK, id))


async def insert_type(kind: DetailsType) -> bool:
    """Returns False if its name is taken."""
    insert = DetailsTypeRow.insert(DetailsTypeRow(**msgspec.structs.asdict(kind))).on_conflict(action="DO NOTHING")
    return bool(await insert.returning(DetailsTypeRow.id))


async def update_type(id: str, values: Mapping[str, Any]) -> None:
    """Set columns by name."""
    changes: dict[Any, Any] = {**values, "updated_at": clock.now()}
    await DetailsTypeRow.update(changes, force=True).where(DetailsTypeRow.id == id)


async def delete_type(id: str) -> None:
    await DetailsTypeRow.delete().where(DetailsTypeRow.id == id)
