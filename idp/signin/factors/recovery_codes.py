"""Recovery codes, printed in advance, replace a lost second factor. Each can be used once."""

import hmac
import secrets
from uuid import UUID

from idp.accounts import typed_codes
from idp.accounts.repository.users import lock_user
from idp.infra.db.engine import transaction
from idp.keys import vault
from idp.signin.factors import repository

COUNT = 10
#: Ten characters of five bits each: too many to guess.
LENGTH = 10
# Crockford's Base32: without letters that look like digits, and without u.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LOOKALIKES = str.maketrans("oil", "011")


def _hash(user_id: UUID, code: str) -> bytes:
    return hmac.digest(vault.derive("recovery-code"), user_id.bytes + code.encode(), "sha256")


async def generate(user_id: UUID) -> list[str]:
    """Replace all codes of a user with new ones, which are shown once."""
    codes = ["".join(secrets.choice(_ALPHABET) for _ in range(LENGTH)) for _ in range(COUNT)]
    hashes = [_hash(user_id, code) for code in codes]
    async with transaction():
        # Without the lock, two concurrent calls would not see each other's codes.
        await lock_user(user_id)
        await repository.delete_recovery_codes(user_id)
        await repository.insert_recovery_codes(user_id, hashes)
    return [f"{code[:5]}-{code[5:]}" for code in codes]


async def consume(user_id: UUID, text: str) -> bool:
    """Use a code, once. Capitals, spaces, o for 0, and i or l for 1 are accepted. Returns whether it was valid."""
    code = typed_codes.normalise_code(text).translate(_LOOKALIKES)
    if len(code) != LENGTH or not set(code) <= set(_ALPHABET):
        return False
    return await repository.use_recovery_code(user_id, _hash(user_id, code))


async def count_unused(user_id: UUID) -> int:
    """Return how many codes of a user can still be used."""
    return await repository.count_recovery_codes(user_id)
