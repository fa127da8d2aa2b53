"""The statements on the policies of identity assertions."""

from uuid import UUID

from idp.infra.db.columns import all_columns
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import many
from idp.oauth.id_jag.models import IdJagPolicy
from idp.oauth.id_jag.tables import IdJagPolicyRow

_INSERT = """
INSERT INTO id_jag_policy (id, client_id, audience, audience_client_id, relying_party, resources, scope, email,
                           email_domains, user_ids, acr, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
"""
_DELETE = "DELETE FROM id_jag_policy WHERE id = $1 RETURNING client_id"
_ALL = f"SELECT {all_columns(IdJagPolicyRow)} FROM id_jag_policy ORDER BY created_at, id"  # noqa: S608

ID_JAG_POLICIES = Listing(
    source="id_jag_policy AS p",
    columns=all_columns(IdJagPolicyRow, "p"),
    key=Sort("p.id", "uuid"),
    sorts={"id": Sort("p.id", "uuid")},
    default_sort="-id",
    filters={
        "id": Filter("p.id = {}", "uuid", "One policy."),
        "client_id": Filter("p.client_id = {}", help="Of one client."),
        "audience": Filter("p.audience = {}", help="For one authorization server."),
    },
)


async def policies() -> list[IdJagPolicy]:
    """Return all policies, the newest last."""
    return many(IdJagPolicy, await fetch(_ALL))


async def insert_policy(policy: IdJagPolicy) -> None:
    """Store a policy of a client that exists."""
    await execute(
        _INSERT,
        *(policy.id, policy.client_id, policy.audience, policy.audience_client_id, policy.relying_party),
        *(policy.resources, policy.scope, policy.email, policy.email_domains, policy.user_ids, policy.acr),
        policy.created_at,
    )


async def delete_policy(id: UUID) -> str | None:
    """Delete a policy. Returns its client, or None if there is no such policy."""
    row = await fetchrow(_DELETE, id)
    return str(row["client_id"]) if row is not None else None
