"""The statements on mappings.

Changes run in a transaction of :func:`idp.oauth.clients.registration.change`, one after the other.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from idp.infra.db.columns import all_columns
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import known
from idp.oauth.claims.models import ClaimMapping
from idp.oauth.claims.tables import ClaimMappingRow

#: What is in a column of its own.
_COLUMNS = ("id", "client_id", "scope", "claim", "created_at")

_INSERT = """
INSERT INTO claim_mapping (id, client_id, scope, claim, config, created_at) VALUES ($1, $2, $3, $4, $5, $6)
"""
_DELETE = f"DELETE FROM claim_mapping WHERE id = $1 RETURNING {all_columns(ClaimMappingRow)}"  # noqa: S608
_ALL = f"SELECT {all_columns(ClaimMappingRow)} FROM claim_mapping ORDER BY created_at, id"  # noqa: S608


def read(row: Mapping[str, Any]) -> ClaimMapping:
    """Return a mapping of a row."""
    values = {name: row[name] for name in _COLUMNS}
    return msgspec.convert(msgspec.json.decode(row["config"]) | values, ClaimMapping)


async def mappings() -> list[ClaimMapping]:
    """Return all mappings, the newest last."""
    return known(read, await fetch(_ALL), "claim_mapping")


async def insert_mapping(mapping: ClaimMapping) -> None:
    config = msgspec.json.encode({name: getattr(mapping, name) for name in ("source", "places", "shape")}).decode()
    values = (mapping.id, mapping.client_id, mapping.scope, mapping.claim, config, mapping.created_at)
    await execute(_INSERT, *values)


async def delete_mapping(id: UUID) -> ClaimMapping | None:
    """Delete a mapping and return it; None if there is no such mapping."""
    row = await fetchrow(_DELETE, id)
    return read(row) if row is not None else None


CLAIM_MAPPINGS = Listing(
    source="claim_mapping AS m",
    columns="m.id, m.client_id, m.scope, m.claim, m.config, m.created_at",
    key=Sort("m.id", "uuid"),
    sorts={"id": Sort("m.id", "uuid")},
    default_sort="-id",
    filters={
        "id": Filter("m.id = {}", "uuid", "One mapping."),
        "client_id": Filter("m.client_id = {}", help="Of one client."),
        "all_clients": Filter("(m.client_id IS NULL) = {}", "boolean", "Whether it is for every client."),
        "scope": Filter("m.scope = {}", help="Of one scope."),
        "claim": Filter("m.claim = {}", help="Of one claim."),
    },
)
