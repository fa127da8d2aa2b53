"""The statements on provisioning targets."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from idp.delivery.repository import columns_of_stream
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import known
from idp.provisioning.models import Features, Target

_COLUMNS = """
    id, name, base_url, users, groups, organization_id, client_id, pushed_groups, mapping, match, removal, mends,
    features, features_at, failing_since, failing_reason, disabled_at, created_at, updated_at
"""
_ONE = f"SELECT {_COLUMNS} FROM provisioning_target WHERE id = $1"  # noqa: S608
_LOCK_ALL = "SELECT FROM provisioning_target ORDER BY id FOR UPDATE"
_LOCK = f"SELECT {_COLUMNS} FROM provisioning_target WHERE id = $1 FOR UPDATE"  # noqa: S608
_BY_NAME = f"SELECT {_COLUMNS} FROM provisioning_target WHERE name = $1"  # noqa: S608
_ALL = f"SELECT {_COLUMNS} FROM provisioning_target ORDER BY id"  # noqa: S608
_ENABLED = f"SELECT {_COLUMNS} FROM provisioning_target WHERE disabled_at IS NULL ORDER BY id"  # noqa: S608
_TOKEN = "SELECT token FROM provisioning_target WHERE id = $1 AND base_url = $2"
_VALUES = """
    name = $2, base_url = $3, users = $4, groups = $5, organization_id = $6, client_id = $7, pushed_groups = $8,
    mapping = $9, match = $10, removal = $11, mends = $12
"""
_INSERT = """
    INSERT INTO provisioning_target (id, name, base_url, users, groups, organization_id, client_id, pushed_groups,
        mapping, match, removal, mends, token, failing_reason, disabled_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, '', now()) ON CONFLICT (name) DO NOTHING
"""
# Another server may have other features.
_UPDATE = f"""
    UPDATE provisioning_target SET {_VALUES}, updated_at = clock_timestamp(), features = NULL, features_at = NULL
    WHERE id = $1 AND NOT EXISTS (SELECT FROM provisioning_target WHERE name = $2 AND id <> $1)
"""  # noqa: S608
_SET_TOKEN = """
    UPDATE provisioning_target SET token = $2, updated_at = clock_timestamp(), failing_since = NULL, failing_reason = ''
    WHERE id = $1
"""
_SET_ENABLED = """
    UPDATE provisioning_target SET disabled_at = CASE WHEN $2 THEN NULL ELSE now() END, updated_at = clock_timestamp(),
                                   failing_since = NULL, failing_reason = ''
    WHERE id = $1 AND (disabled_at IS NULL) <> $2
"""
_SET_FEATURES = "UPDATE provisioning_target SET features = $2, features_at = now() WHERE id = $1"
_FAIL = """
    UPDATE provisioning_target SET failing_since = coalesce(failing_since, now()), failing_reason = $2
    WHERE id = $1 AND failing_reason <> $2 RETURNING failing_since = now() AS began
"""
_WORKS = """
    UPDATE provisioning_target SET failing_since = NULL, failing_reason = '' WHERE id = $1 AND failing_since IS NOT NULL
"""

TARGETS = Listing(
    source="provisioning_target AS t",
    columns="t.id, t.name, t.base_url, t.users, t.groups, t.organization_id, t.client_id, t.pushed_groups, t.mapping,"
    " t.match, t.removal, t.mends, t.failing_since, t.failing_reason, t.disabled_at, t.created_at, t.updated_at,"
    + columns_of_stream("('scim:' || t.id)"),
    key=Sort("t.id", "uuid"),
    sorts={"created_at": Sort("t.created_at")},
    default_sort="-created_at",
    filters={
        "id": Filter("t.id = {}", "uuid", "One target."),
        "name": Filter("t.name = {}", help="With this name."),
    },
)


def _read(row: Mapping[str, Any] | None) -> Target | None:
    """Return the target of a row; None without a row, or for one with a value that this version does not know."""
    found = known(_of_row, [row] if row is not None else [], "provisioning_target")
    return found[0] if found else None


def _of_row(row: Mapping[str, Any]) -> Target:
    values = dict(row)
    values["mapping"] = msgspec.json.decode(values["mapping"])
    values["features"] = msgspec.json.decode(values["features"], type=Features) if values["features"] else None
    return msgspec.convert(values, Target)


def _values(target: Target) -> list[object]:
    return [
        target.id, target.name, target.base_url, target.users.value, target.groups, target.organization_id,
        target.client_id, target.pushed_groups, msgspec.json.encode(target.mapping).decode(), target.match.value,
        target.removal.value, target.mends,
    ]  # fmt: skip


async def target(id: UUID) -> Target | None:
    """Return a target, enabled or not."""
    return _read(await fetchrow(_ONE, id))


async def lock_target(id: UUID) -> Target | None:
    """Return a target, and lock it until the end of the transaction."""
    return _read(await fetchrow(_LOCK, id))


async def target_by_name(name: str) -> Target | None:
    return _read(await fetchrow(_BY_NAME, name))


async def targets() -> list[Target]:
    """Return all targets."""
    return known(_of_row, await fetch(_ALL), "provisioning_target")


async def lock_targets() -> None:
    """Lock all targets until the end of the transaction."""
    await fetch(_LOCK_ALL)


async def enabled_targets() -> list[Target]:
    """Return the targets that get users."""
    return known(_of_row, await fetch(_ENABLED), "provisioning_target")


async def encrypted_token(target: Target) -> bytes | None:
    """Return the token for a target's base URL. None if the target is gone, or has another URL by now, whose token is
    another one.
    """
    row = await fetchrow(_TOKEN, target.id, target.base_url)
    return row["token"] if row is not None else None


async def insert(target: Target, token: bytes) -> bool:
    """Insert a target that is disabled. Returns False if the name is taken."""
    return bool(await execute(_INSERT, *_values(target), token))


async def update(target: Target) -> bool:
    """Returns False if the name is taken."""
    return bool(await execute(_UPDATE, *_values(target)))


async def set_token(id: UUID, token: bytes) -> bool:
    """Returns False if there is no such target."""
    return bool(await execute(_SET_TOKEN, id, token))


async def set_enabled(id: UUID, enabled: bool) -> bool:
    """Returns False if there is no such target, or it is in this state."""
    return bool(await execute(_SET_ENABLED, id, enabled))


async def delete(id: UUID) -> bool:
    """Delete a target and what is known of its users. Returns False if there is no such target."""
    return bool(await execute("DELETE FROM provisioning_target WHERE id = $1", id))


async def set_features(id: UUID, features: Features) -> None:
    await execute(_SET_FEATURES, id, msgspec.json.encode(features).decode())


async def fail(id: UUID, reason: str) -> bool:
    """Record that a target refuses everything. Returns whether it did not before."""
    row = await fetchrow(_FAIL, id, reason)
    return row is not None and bool(row["began"])


async def works(id: UUID) -> bool:
    """Record that a target accepts requests. Returns whether it refused them before."""
    return bool(await execute(_WORKS, id))
