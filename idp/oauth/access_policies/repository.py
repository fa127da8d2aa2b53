"""The statements on access policies.

Changes run in a transaction of :func:`idp.oauth.clients.registration.change`, one after the other.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec
import structlog

from idp.infra.db.engine import execute, fetch, fetchrow
from idp.oauth.access_policies.models import AccessPolicy, Conditions
from idp.signin.transitions import ACR_VALUES

log = structlog.get_logger()

#: The id of a role that nobody has.
NO_ROLE = UUID(int=0)
#: By field of a policy, the table of what it names, and the column with its type.
_NAMED = {
    "groups": ("access_policy_group", "group_id", "uuid"),
    "organizations": ("access_policy_organization", "organization_id", "uuid"),
    "roles": ("access_policy_role", "role_id", "uuid"),
    "attributes": ("access_policy_attribute", "attribute", "text"),
}
_ALL = """
SELECT p.client_id, p.conditions, p.updated_at,
       ARRAY(SELECT g.group_id FROM access_policy_group AS g WHERE g.client_id = p.client_id ORDER BY 1) AS groups,
       ARRAY(SELECT o.organization_id FROM access_policy_organization AS o WHERE o.client_id = p.client_id ORDER BY 1)
           AS organizations,
       ARRAY(SELECT r.role_id FROM access_policy_role AS r WHERE r.client_id = p.client_id ORDER BY 1) AS roles
FROM access_policy AS p
"""
_ONE = f"{_ALL} WHERE p.client_id = $1"
_SAVE = """
INSERT INTO access_policy (client_id, conditions, updated_at) VALUES ($1, $2, clock_timestamp())
ON CONFLICT (client_id) DO UPDATE SET conditions = $2, updated_at = clock_timestamp()
"""
_DELETE = "DELETE FROM access_policy WHERE client_id = $1"
_UNNAME = {
    field: f"DELETE FROM {table} WHERE client_id = $1 AND {column} <> ALL ($2::{kind}[])"  # noqa: S608
    for field, (table, column, kind) in _NAMED.items()
}
_NAME = {
    field: f"INSERT INTO {table} (client_id, {column}) SELECT $1, unnest($2::{kind}[]) ON CONFLICT DO NOTHING"
    for field, (table, column, kind) in _NAMED.items()
}


def _read(row: Mapping[str, Any]) -> AccessPolicy:
    """Return the policy of a row. With a condition that only a newer release knows, it admits nobody: to ignore the
    condition would admit those whom it keeps out.
    """
    values = dict(row)
    conditions = msgspec.json.decode(values.pop("conditions"))
    try:
        if conditions.get("acr") in (None, *ACR_VALUES):
            return msgspec.convert(values | conditions, AccessPolicy)
    except msgspec.ValidationError:
        pass
    log.error("record_not_usable", kind="access_policy", client_id=values["client_id"])
    return msgspec.convert(values | {"roles": [NO_ROLE]}, AccessPolicy)


async def policies() -> list[AccessPolicy]:
    """Return the policies of all clients."""
    return [_read(row) for row in await fetch(_ALL)]


async def policy_of(client_id: str) -> AccessPolicy | None:
    row = await fetchrow(_ONE, client_id)
    return _read(row) if row is not None else None


async def save_policy(policy: AccessPolicy) -> None:
    """Insert or replace the policy of a client. What it names is held."""
    conditions = Conditions(**{name: getattr(policy, name) for name in Conditions.__struct_fields__})
    await execute(_SAVE, policy.client_id, msgspec.json.encode(conditions).decode())
    for field in _NAMED:
        keys = list(getattr(policy, field))
        await execute(_UNNAME[field], policy.client_id, keys)
        await execute(_NAME[field], policy.client_id, keys)


async def delete_policy(client_id: str) -> bool:
    """Delete the policy of a client. Returns False if it has none."""
    for statement in _UNNAME.values():
        await execute(statement, client_id, [])
    return bool(await execute(_DELETE, client_id))
