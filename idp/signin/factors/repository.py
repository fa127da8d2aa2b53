"""Every statement on passkeys, authenticator apps and recovery codes."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from idp import ids
from idp.infra.db.columns import all_columns
from idp.infra.db.engine import execute, fetchrow
from idp.infra.db.rows import one
from idp.signin.subject import FactorColumns
from idp.signin.tables import Passkey

#: The columns of :class:`idp.signin.subject.FactorColumns`, for the user ``u`` with the id ``$1``.
FACTOR_COLUMNS = """
    u.two_step, EXISTS (SELECT FROM passkey WHERE user_id = $1) AS has_passkey,
    EXISTS (SELECT FROM totp WHERE user_id = $1 AND confirmed_at IS NOT NULL) AS has_totp,
    EXISTS (SELECT FROM recovery_code WHERE user_id = $1 AND used_at IS NULL) AS has_recovery_code
"""
_FACTORS = f"SELECT {FACTOR_COLUMNS} FROM users AS u WHERE u.id = $1 AND u.disabled_at IS NULL"  # noqa: S608
_COUNT_WITHOUT_OTHER_METHOD = """
    SELECT count(*) FROM users AS u WHERE EXISTS (SELECT FROM identity WHERE user_id = u.id AND upstream_id = $1)
    AND u.password_hash IS NULL AND NOT EXISTS (SELECT FROM passkey WHERE user_id = u.id)
    AND NOT EXISTS (SELECT FROM identity WHERE user_id = u.id AND upstream_id <> $1)
"""
_DELETE_TOTP = "DELETE FROM totp WHERE user_id = $1"
_DELETE_RECOVERY_CODES = "DELETE FROM recovery_code WHERE user_id = $1"


async def find_factors(user_id: UUID) -> FactorColumns | None:
    """Return the factors of a user; None if there is no such user or they are disabled."""
    return one(FactorColumns, await fetchrow(_FACTORS, user_id))


async def count_without_other_method(upstream_id: str) -> int:
    """Return the number of users with an identity at an upstream and no password, passkey or other identity."""
    row = await fetchrow(_COUNT_WITHOUT_OTHER_METHOD, upstream_id)
    count: int = row["count"] if row is not None else 0
    return count


async def delete_factors(user_id: UUID) -> bool:
    """Delete all factors of a user. Returns whether there was one."""
    passkeys = await execute(_DELETE_PASSKEYS, user_id, None)
    return bool(passkeys + await execute(_DELETE_TOTP, user_id) + await execute(_DELETE_RECOVERY_CODES, user_id))


# Passkeys


class FoundPasskey(msgspec.Struct, frozen=True):
    """The columns for the verification of a passkey."""

    id: UUID
    user_id: UUID
    public_key: bytes
    backup_eligible: bool


class PasskeyUse(msgspec.Struct, frozen=True):
    """A recorded use of a passkey: the signature counter ``before``, and whether it ``grows``."""

    grows: bool
    before: int


class NewPasskey(msgspec.Struct, frozen=True):
    """A passkey to store."""

    user_id: UUID
    credential_id: bytes
    public_key: bytes
    sign_count: int
    transports: list[str]
    aaguid: UUID
    backup_eligible: bool
    name: str


# The lookup row is written in the same statement, and deleted with the passkey (foreign key).
_INSERT_PASSKEY = f"""
    WITH taken AS (
        INSERT INTO passkey_credential (credential_id, user_id)
        SELECT $3, $1 WHERE (SELECT count(*) FROM passkey WHERE user_id = $1) < $10
        ON CONFLICT (credential_id) DO NOTHING RETURNING user_id
    )
    INSERT INTO passkey (user_id, id, credential_id, public_key, sign_count, transports, aaguid, backup_eligible, name,
                         created_at)
    SELECT user_id, $2, $3, $4, $5, $6, $7, $8, $9, now() FROM taken
    RETURNING {all_columns(Passkey)}
"""  # noqa: S608
_OWNER_OF_PASSKEY = "SELECT user_id FROM passkey_credential WHERE credential_id = $1"
_FIND_PASSKEY = """
    SELECT id, user_id, public_key, backup_eligible FROM passkey WHERE user_id = $1 AND credential_id = $2
"""
# WebAuthn section 7.2: a counter that does not increase indicates a copy. Many passkeys do not count at all. A passkey
# that may be backed up is on several devices with separate counters: there it is only a signal. A device-bound passkey
# has no legitimate copy: there it is refused.
_GROWS = "({row}.sign_count < $3 OR ({row}.sign_count = 0 AND $3 = 0))"
_USE_PASSKEY = f"""
    UPDATE passkey AS p SET sign_count = $3, last_used_at = now() FROM passkey AS old
    WHERE p.user_id = $1 AND p.id = $2 AND old.user_id = $1 AND old.id = $2
      AND (p.backup_eligible OR {_GROWS.format(row="p")})
    RETURNING {_GROWS.format(row="old")} AS grows, old.sign_count AS before
"""  # noqa: S608
_RENAME_PASSKEY = "UPDATE passkey SET name = $3 WHERE user_id = $1 AND id = $2"
# $2 null: all
_DELETE_PASSKEYS = """
    WITH gone AS (DELETE FROM passkey WHERE user_id = $1 AND ($2::uuid IS NULL OR id = $2) RETURNING credential_id)
    DELETE FROM passkey_credential AS c USING gone WHERE c.credential_id = gone.credential_id
"""


async def passkeys_of(user_id: UUID) -> list[Passkey]:
    """Return the passkeys of a user, the oldest first."""
    return await Passkey.objects().where(Passkey.user_id == user_id).order_by(Passkey.created_at, Passkey.id)


async def insert_passkey(new: NewPasskey, limit: int) -> Passkey | None:
    """Store a passkey. None if its credential is known, or the user has ``limit`` passkeys. Lock the user first."""
    row = await fetchrow(
        _INSERT_PASSKEY, new.user_id, ids.uuid7(), new.credential_id, new.public_key, new.sign_count, new.transports,
        new.aaguid, new.backup_eligible, new.name, limit,
    )  # fmt: skip
    return Passkey(**row) if row is not None else None


async def find_passkey(credential_id: bytes) -> FoundPasskey | None:
    """Return the passkey of a credential, of any user. An unknown one runs the same statements as a known one."""
    row = await fetchrow(_OWNER_OF_PASSKEY, credential_id)
    user_id = row["user_id"] if row is not None else ids.uuid7()
    return one(FoundPasskey, await fetchrow(_FIND_PASSKEY, user_id, credential_id))


async def use_passkey(user_id: UUID, passkey_id: UUID, sign_count: int) -> PasskeyUse | None:
    """Record a use with the counter of the authenticator. None if the counter indicates a copy of the passkey."""
    return one(PasskeyUse, await fetchrow(_USE_PASSKEY, user_id, passkey_id, sign_count))


async def rename_passkey(user_id: UUID, passkey_id: UUID, name: str) -> bool:
    return bool(await execute(_RENAME_PASSKEY, user_id, passkey_id, name))


async def delete_passkey(user_id: UUID, passkey_id: UUID) -> bool:
    return bool(await execute(_DELETE_PASSKEYS, user_id, passkey_id))


# Authenticator apps (TOTP)


class SealedSecret(msgspec.Struct, frozen=True):
    """The encrypted secret of an app. ``id`` is part of its associated data."""

    id: UUID
    secret: bytes


class _DeletedTotp(msgspec.Struct, frozen=True):
    confirmed_at: datetime | None


# A pending secret stays the same for its holder for an hour, so that the page can be reloaded after the code was
# scanned. Another person who has seen it cannot wait until it is confirmed.
_SAME = "t.holder = EXCLUDED.holder AND EXCLUDED.created_at - t.created_at < interval '1 hour'"
_START_TOTP = f"""
    INSERT INTO totp AS t (id, user_id, holder, secret, last_step, created_at) VALUES ($1, $2, $3, $4, 0, now())
    ON CONFLICT (user_id) DO UPDATE SET
        id = CASE WHEN {_SAME} THEN t.id ELSE EXCLUDED.id END,
        holder = EXCLUDED.holder,
        secret = CASE WHEN {_SAME} THEN t.secret ELSE EXCLUDED.secret END,
        created_at = CASE WHEN {_SAME} THEN t.created_at ELSE EXCLUDED.created_at END
    WHERE t.confirmed_at IS NULL
    RETURNING id, secret
"""  # noqa: S608
_INSERT_TOTP = """
    INSERT INTO totp AS t (id, user_id, secret, last_step, created_at, confirmed_at)
    VALUES ($1, $2, $3, 0, now(), now())
    ON CONFLICT (user_id) DO UPDATE SET
        id = EXCLUDED.id, holder = NULL, secret = EXCLUDED.secret, last_step = 0, created_at = now(),
        confirmed_at = now()
    WHERE t.confirmed_at IS NULL
"""
_FIND_PENDING_TOTP = "SELECT id, secret FROM totp WHERE user_id = $1 AND holder = $2 AND confirmed_at IS NULL"
_CONFIRM_TOTP = """
    UPDATE totp SET confirmed_at = now(), holder = NULL, last_step = $3
    WHERE user_id = $1 AND id = $2 AND confirmed_at IS NULL
"""
_FIND_TOTP = "SELECT id, secret FROM totp WHERE user_id = $1 AND confirmed_at IS NOT NULL"
_USE_TOTP = """
    UPDATE totp SET last_step = $3, last_used_at = now()
    WHERE user_id = $1 AND id = $2 AND confirmed_at IS NOT NULL AND last_step < $3
"""
_DELETE_PENDING_TOTP = "DELETE FROM totp WHERE user_id = $1 AND confirmed_at IS NULL"
_DELETE_TOTP = "DELETE FROM totp WHERE user_id = $1 RETURNING confirmed_at"
_TOTP_SINCE = "SELECT FROM totp WHERE user_id = $1 AND coalesce(confirmed_at, created_at) >= $2"


async def start_totp(id: UUID, user_id: UUID, holder: str, secret: bytes) -> SealedSecret | None:
    """Store a pending secret, unless its holder has one that is less than an hour old. Returns the valid one.

    None if the user has a confirmed app.
    """
    return one(SealedSecret, await fetchrow(_START_TOTP, id, user_id, holder, secret))


async def insert_totp(id: UUID, user_id: UUID, secret: bytes) -> bool:
    """Store a confirmed app, also in the place of a pending one. Returns False if the user has a confirmed one."""
    return bool(await execute(_INSERT_TOTP, id, user_id, secret))


async def find_pending_totp(user_id: UUID, holder: str) -> SealedSecret | None:
    """Return the pending secret that was shown to a sign-in flow or session."""
    return one(SealedSecret, await fetchrow(_FIND_PENDING_TOTP, user_id, holder))


async def confirm_totp(user_id: UUID, id: UUID, step: int) -> bool:
    """Confirm a pending app with the code of a time step. Returns False if it is no longer pending."""
    return bool(await execute(_CONFIRM_TOTP, user_id, id, step))


async def find_totp(user_id: UUID) -> SealedSecret | None:
    """Return the confirmed app of a user."""
    return one(SealedSecret, await fetchrow(_FIND_TOTP, user_id))


async def use_totp(user_id: UUID, id: UUID, step: int) -> bool:
    """Use the code of a time step. Returns False if that step or a later one was used."""
    return bool(await execute(_USE_TOTP, user_id, id, step))


async def delete_pending_totp(user_id: UUID) -> int:
    """Delete a pending app. Returns how many there were."""
    return await execute(_DELETE_PENDING_TOTP, user_id)


async def delete_totp(user_id: UUID) -> bool:
    """Delete the app of a user, pending or not. Returns whether it was confirmed."""
    row = one(_DeletedTotp, await fetchrow(_DELETE_TOTP, user_id))
    return row is not None and row.confirmed_at is not None


async def has_totp_since(user_id: UUID, since: datetime) -> bool:
    """Return whether a user has an app that was set up, or begun to be, since a time."""
    return await fetchrow(_TOTP_SINCE, user_id, since) is not None


# Recovery codes

_INSERT_RECOVERY_CODES = """
    INSERT INTO recovery_code (user_id, code_hash, created_at) SELECT $1, unnest($2::bytea[]), now()
    ON CONFLICT DO NOTHING
"""
_USE_RECOVERY_CODE = """
    UPDATE recovery_code SET used_at = now() WHERE user_id = $1 AND code_hash = $2 AND used_at IS NULL
"""
_COUNT_RECOVERY_CODES = "SELECT count(*) AS count FROM recovery_code WHERE user_id = $1 AND used_at IS NULL"
_DELETE_RECOVERY_CODES = "DELETE FROM recovery_code WHERE user_id = $1"
_DELETE_RECOVERY_CODES_SINCE = "DELETE FROM recovery_code WHERE user_id = $1 AND created_at >= $2"


async def insert_recovery_codes(user_id: UUID, hashes: Sequence[bytes]) -> None:
    await execute(_INSERT_RECOVERY_CODES, user_id, hashes)


async def use_recovery_code(user_id: UUID, code_hash: bytes) -> bool:
    """Use a code, once. Returns False if it is unknown or used."""
    return bool(await execute(_USE_RECOVERY_CODE, user_id, code_hash))


async def count_recovery_codes(user_id: UUID) -> int:
    """Return how many codes of a user are unused."""
    row = await fetchrow(_COUNT_RECOVERY_CODES, user_id)
    return row["count"] if row is not None else 0


async def delete_recovery_codes(user_id: UUID) -> None:
    await execute(_DELETE_RECOVERY_CODES, user_id)


async def delete_recovery_codes_since(user_id: UUID, since: datetime) -> None:
    """Delete the codes of a user that were made since a time."""
    await execute(_DELETE_RECOVERY_CODES_SINCE, user_id, since)
