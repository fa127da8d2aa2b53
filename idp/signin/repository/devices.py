"""The statements on devices."""

import secrets
from collections.abc import Sequence
from uuid import UUID

import msgspec

from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.expiring import Expiring
from idp.infra.db.rows import one
from idp.signin.tables import Device

EXPIRING = (Expiring(Device, "1 day", key=("user_id", "id")),)


class KnownDevice(msgspec.Struct, frozen=True):
    """A browser that a user signed in with before.

    Attributes:
        id: stays when the cookie is replaced.
        email: the user's address.
        second_step: the user has used a second factor there.
    """

    id: UUID
    email: str
    second_step: bool


class DeviceUse(msgspec.Struct, frozen=True):
    """A sign-in at a device. Times are in seconds; ``trusted_for`` None leaves its trust as it is."""

    user_id: UUID
    token_hash: bytes
    trusted_for: float | None
    second_step: bool
    lifetime: float


_USERS_OF_DEVICE = "SELECT user_id FROM device_token WHERE token_hash = $1"
_FIND_DEVICE = """
    SELECT d.id, u.email, d.second_step_at IS NOT NULL AS second_step FROM device AS d, users AS u
    WHERE d.user_id = ANY($1) AND d.token_hash = $2 AND d.expires_at > now()
      AND u.id = ANY($1) AND u.id = d.user_id AND u.disabled_at IS NULL
    ORDER BY d.id LIMIT 1
"""
_MOVE_DEVICE = """
    WITH moved AS (
        UPDATE device SET token_hash = $3,
            trusted_until = CASE WHEN user_id = $4
                THEN coalesce(t.trusted_until, device.trusted_until) ELSE device.trusted_until END,
            second_step_at = CASE WHEN user_id = $4 AND $6 THEN now() ELSE second_step_at END,
            expires_at = CASE WHEN user_id = $4 THEN t.expires_at ELSE device.expires_at END
        FROM (
            SELECT now() + make_interval(secs => $5) AS trusted_until, now() + make_interval(secs => $7) AS expires_at
        ) AS t
        WHERE user_id = ANY($1) AND token_hash = $2 RETURNING user_id
    ), known AS (
        UPDATE device_token AS k SET token_hash = $3 FROM moved WHERE k.token_hash = $2 AND k.user_id = moved.user_id
    )
    SELECT user_id FROM moved
"""
_INSERT_DEVICE = """
    WITH known AS (INSERT INTO device_token (token_hash, user_id) VALUES ($3, $1))
    INSERT INTO device (user_id, id, token_hash, created_at, trusted_until, second_step_at, expires_at)
    VALUES ($1, $2, $3, now(), now() + make_interval(secs => $4), CASE WHEN $5::boolean THEN now() END,
            now() + make_interval(secs => $6))
"""
_HAS_DEVICES = "SELECT EXISTS (SELECT FROM device WHERE user_id = $1 AND expires_at > now()) AS has"
# No browser has the token of the new hash. The rows stay, because the user has signed in before.
_FORGET_DEVICES = """
    UPDATE device SET token_hash = sha256(token_hash || $2), trusted_until = NULL, second_step_at = NULL
    WHERE user_id = $1
"""
_DISTRUST_ALL_DEVICES = "UPDATE device SET trusted_until = NULL WHERE trusted_until IS NOT NULL"
_DISTRUST_DEVICES = """
    UPDATE device SET trusted_until = NULL, second_step_at = NULL
    WHERE user_id = $1 AND (trusted_until IS NOT NULL OR second_step_at IS NOT NULL)
"""


async def users_of_device(token_hash: bytes) -> list[UUID]:
    """Return the users who signed in with the browser that has this token."""
    return [row["user_id"] for row in await fetch(_USERS_OF_DEVICE, token_hash)]


async def find_device(token_hash: bytes, user_ids: Sequence[UUID]) -> KnownDevice | None:
    """Return the device of a token, for the first of these users who signed in there."""
    return one(KnownDevice, await fetchrow(_FIND_DEVICE, user_ids, token_hash))


async def move_device(token_hash: bytes, use: DeviceUse) -> bool:
    """Move all users of a device to its new token. Returns whether the user of this sign-in is among them."""
    rows = await fetch(
        _MOVE_DEVICE, await users_of_device(token_hash), token_hash, use.token_hash, use.user_id, use.trusted_for,
        use.second_step, use.lifetime,
    )  # fmt: skip
    return use.user_id in {row["user_id"] for row in rows}


async def insert_device(id: UUID, use: DeviceUse) -> None:
    """Insert a device with its lookup."""
    await execute(_INSERT_DEVICE, use.user_id, id, use.token_hash, use.trusted_for, use.second_step, use.lifetime)


async def has_devices(user_id: UUID) -> bool:
    """Return whether a user has a device."""
    row = await fetchrow(_HAS_DEVICES, user_id)
    return row is not None and bool(row["has"])


async def forget_devices(user_id: UUID) -> None:
    """Make all devices of a user unknown to their browsers."""
    await execute(_FORGET_DEVICES, user_id, secrets.token_bytes(32))


async def distrust_all_devices() -> int:
    """End the trust in all devices of all users. Returns how many were trusted."""
    return await execute(_DISTRUST_ALL_DEVICES)


async def distrust_devices(user_id: UUID) -> None:
    """End the trust in all devices of a user. The devices stay known."""
    await execute(_DISTRUST_DEVICES, user_id)
