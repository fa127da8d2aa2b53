"""The statements on what checks have found."""

from collections.abc import Iterable
from uuid import NAMESPACE_OID, UUID, uuid5

import msgspec

from idp.infra.db.engine import execute
from idp.infra.db.listing import Filter, Listing, Sort
from idp.provisioning.models import Drift

_INSERT = """
    INSERT INTO provisioning_drift (id, target_id, check_id, kind, user_id, group_id, remote_id, details)
    SELECT id, target_id, check_id, kind, user_id, group_id, remote_id,
           ARRAY(SELECT jsonb_array_elements_text(details))
    FROM jsonb_to_recordset($1::jsonb) AS d (id uuid, target_id uuid, check_id uuid, kind text, user_id uuid,
                                             group_id uuid, remote_id text, details jsonb)
    ON CONFLICT (id) DO NOTHING
"""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A difference between a target and this server.

    Attributes:
        details: the paths that differ, or how many members.
    """

    kind: Drift
    user_id: UUID | None = None
    group_id: UUID | None = None
    remote_id: str | None = None
    details: tuple[str, ...] = ()


class ListedDrift(msgspec.Struct, frozen=True):
    """A difference as administrators see it."""

    kind: Drift
    user_id: UUID | None
    group_id: UUID | None
    remote_id: str | None
    details: list[str]


DRIFT = Listing(
    source="provisioning_drift AS d",
    columns="d.id, d.kind, d.user_id, d.group_id, d.remote_id, d.details",
    key=Sort("d.id", "uuid"),
    sorts={"id": Sort("d.id", "uuid")},
    default_sort="id",
    filters={
        "target_id": Filter("d.target_id = {}", "uuid", "At this target."),
        "kind": Filter("d.kind = {}", choices=tuple(Drift), help="Of this kind."),
        "user_id": Filter("d.user_id = {}", "uuid", "Of this user."),
    },
)


async def insert(target_id: UUID, check_id: UUID, found: Iterable[Found]) -> None:
    """Store differences. One that a check finds again, because it was interrupted, is stored once."""
    rows = [
        {
            "id": uuid5(NAMESPACE_OID, f"{check_id} {each.kind} {each.user_id} {each.group_id} {each.remote_id}"),
            "target_id": target_id,
            "check_id": check_id,
            **msgspec.structs.asdict(each),
        }
        for each in found
    ]
    if rows:
        await execute(_INSERT, msgspec.json.encode(rows).decode())


async def delete_others(target_id: UUID, check_id: UUID) -> None:
    """Delete what earlier checks have found."""
    await execute("DELETE FROM provisioning_drift WHERE target_id = $1 AND check_id <> $2", target_id, check_id)
