"""The statements on the rules of workload identity."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from idp.infra.db.columns import all_columns
from idp.infra.db.engine import fetch, fetchrow
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import known
from idp.oauth.clients.workloads.models import WorkloadIdentity
from idp.oauth.clients.workloads.tables import WorkloadIdentityRow

# In a transaction that changes clients one after the other, so a rule cannot be inserted twice.
_INSERT = """
INSERT INTO workload_identity AS w (id, client_id, issuer, subject, audience, jwks, jwks_uri, single_use, created_at)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, now()
WHERE NOT EXISTS (
    SELECT FROM workload_identity WHERE client_id = $2 AND issuer = $3 AND subject = $4 AND audience = $5)
RETURNING w.created_at
"""
_DELETE = "DELETE FROM workload_identity WHERE id = $1 RETURNING client_id"
_ALL = f"SELECT {all_columns(WorkloadIdentityRow)} FROM workload_identity ORDER BY created_at, id"  # noqa: S608


def read(row: Mapping[str, Any]) -> WorkloadIdentity:
    """Return a rule of a row."""
    values = dict(row)
    jwks = values["jwks"]
    return msgspec.convert(values | {"jwks": msgspec.json.decode(jwks) if jwks else None}, WorkloadIdentity)


async def identities() -> list[WorkloadIdentity]:
    """Return all rules, the newest last."""
    return known(read, await fetch(_ALL), "workload_identity")


async def insert_identity(rule: WorkloadIdentity) -> bool:
    """Returns False if the client has a rule with this issuer, subject and audience."""
    jwks = msgspec.json.encode(rule.jwks).decode() if rule.jwks is not None else None
    values = (rule.id, rule.client_id, rule.issuer, rule.subject, rule.audience, jwks, rule.jwks_uri, rule.single_use)
    return await fetchrow(_INSERT, *values) is not None


async def delete_identity(id: UUID) -> str | None:
    """Delete a rule. Returns the client, or None if there is no such rule."""
    row = await fetchrow(_DELETE, id)
    return str(row["client_id"]) if row is not None else None


WORKLOAD_IDENTITIES = Listing(
    source="workload_identity AS w",
    columns="w.id, w.client_id, w.issuer, w.subject, w.audience, w.jwks, w.jwks_uri, w.single_use, w.created_at",
    key=Sort("w.id", "uuid"),
    sorts={"id": Sort("w.id", "uuid")},
    default_sort="-id",
    filters={
        "id": Filter("w.id = {}", "uuid", "One rule."),
        "client_id": Filter("w.client_id = {}", help="Of one client."),
        "issuer": Filter("w.issuer = {}", help="Of one issuer."),
    },
)
