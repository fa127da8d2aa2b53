"""The statements on the policies of token exchange."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from idp.infra.db.columns import all_columns
from idp.infra.db.engine import fetch, fetchrow
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import known
from idp.oauth.exchange.models import ExchangePolicy
from idp.oauth.exchange.tables import ExchangePolicyRow

_INSERT = """
INSERT INTO token_exchange_policy (id, client_id, mode, resources, scope, added_scope, subject_token_types,
                                   subject_clients, user_ids, max_lifetime, bearer_for_bound, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
"""
_DELETE = "DELETE FROM token_exchange_policy WHERE id = $1 RETURNING client_id"
_ALL = f"SELECT {all_columns(ExchangePolicyRow)} FROM token_exchange_policy ORDER BY created_at, id"  # noqa: S608


def read(row: Mapping[str, Any]) -> ExchangePolicy:
    """Return a policy of a row."""
    return msgspec.convert(dict(row), ExchangePolicy)


async def policies() -> list[ExchangePolicy]:
    """Return all policies, the newest last."""
    return known(read, await fetch(_ALL), "token_exchange_policy")


async def insert_policy(policy: ExchangePolicy) -> None:
    """Store a policy of a client that exists."""
    await fetch(
        _INSERT,
        *(policy.id, policy.client_id, policy.mode, policy.resources, policy.scope, policy.added_scope),
        *(policy.subject_token_types, policy.subject_clients, policy.user_ids),
        *(policy.max_lifetime, policy.bearer_for_bound, policy.created_at),
    )


async def delete_policy(id: UUID) -> str | None:
    """Delete a policy. Returns its client, or None if there is no such policy."""
    row = await fetchrow(_DELETE, id)
    return str(row["client_id"]) if row is not None else None


POLICIES = Listing(
    source="token_exchange_policy AS p",
    columns="p.id, p.client_id, p.mode, p.resources, p.scope, p.added_scope, p.subject_token_types,"
    " p.subject_clients, p.user_ids, p.max_lifetime, p.bearer_for_bound, p.created_at",
    key=Sort("p.id", "uuid"),
    sorts={"id": Sort("p.id", "uuid")},
    default_sort="-id",
    filters={
        "id": Filter("p.id = {}", "uuid", "One policy."),
        "client_id": Filter("p.client_id = {}", help="Of one client."),
        "resource": Filter("{} = ANY (p.resources)", help="For one resource server."),
    },
)
