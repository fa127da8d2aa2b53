"""Recovery codes: printed once, for the day when no other second factor is at hand. Each can be used once."""

import hmac
import secrets
from uuid import UUID

from idp import ids
from idp.accounts import typed_codes
from idp.infra.db.engine import execute, fetchrow, transaction
from idp.keys import vault

COUNT = 10
#: Ten characters of five bits each: more than anybody could try.
LENGTH = 10
# Crockford's Base32: without letters that look like digits, and without u.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LOOKALIKES = str.maketrans("oil", "011")

_LOCK = "SELECT 1 FROM users WHERE id = $1 FOR NO KEY UPDATE"
_INSERT = """
    INSERT INTO recovery_code (id, user_id, code_hash, created_at)
    SELECT id, $1, code_hash, now() FROM unnest($2::uuid[], $3::bytea[]) AS made (id, code_hash)
"""
_USE = "UPDATE recovery_code SET used_at = now() WHERE user_id = $1 AND code_hash = $2 AND used_at IS NULL"
_LEFT = "SELECT count(*) AS count FROM recovery_code WHERE user_id = $1 AND used_at IS NULL"
_REMOVE = "DELETE FROM recovery_code WHERE user_id = $1"


def _hash(user_id: UUID, code: str) -> bytes:
    return hmac.digest(vault.derive("recovery-code"), user_id.bytes + code.encode(), "sha256")


async def generate(user_id: UUID) -> list[str]:
    """Make new codes in place of all earlier ones. They are shown now and never again."""
    codes = ["".join(secrets.choice(_ALPHABET) for _ in range(LENGTH)) for _ in range(COUNT)]
    hashes = [_hash(user_id, code) for code in codes]
    async with transaction():
        # Two that are made at once would not see each other's codes.
        await fetchrow(_LOCK, user_id)
        await execute(_REMOVE, user_id)
        await execute(_INSERT, user_id, [ids.uuid7() for _ in codes], hashes)
    return [f"{code[:5]}-{code[5:]}" for code in codes]


async def consume(user_id: UUID, text: str) -> bool:
    """Use a code, once, however it was typed: in capitals, with spaces, with o for 0, with i or l for 1."""
    code = typed_codes.normalise_code(text).translate(_LOOKALIKES)
    if len(code) != LENGTH or not set(code) <= set(_ALPHABET):
        return False
    return bool(await execute(_USE, user_id, _hash(user_id, code)))


async def count_unused(user_id: UUID) -> int:
    """How many codes can still be used."""
    row = await fetchrow(_LEFT, user_id)
    return row["count"] if row is not None else 0


async def delete_all(user_id: UUID) -> None:
    await execute(_REMOVE, user_id)
