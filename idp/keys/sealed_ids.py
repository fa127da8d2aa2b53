"""Encrypted user ids inside values that clients read, so that clients cannot learn or compare the ids.

AES-SIV (RFC 5297) with a derived key is deterministic: the same values always give the same text, so that a token can
be rebuilt byte for byte. The associated data is the purpose and the random part of the token. So the same user looks
different in each token, and a sealed id cannot be moved to another token (docs/decisions/0048-keys-by-person.md).
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import lru_cache
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from idp.keys import vault

#: Length of a sealed id in characters: 16 bytes and a tag of 16 bytes, in base64url.
LENGTH = 43


@lru_cache(maxsize=8)
def _cipher(key: bytes) -> AESSIV:
    return AESSIV(key)


def seal(user_id: UUID, purpose: str, token: bytes) -> str:
    """Encrypt the id of a user for one token.

    Args:
        purpose: the kind of token, such as ``refresh-token``.
        token: the random part of the token, never used for two users.
    """
    sealed = _cipher(vault.derive("sealed-id")).encrypt(user_id.bytes, [purpose.encode(), token])
    return urlsafe_b64encode(sealed).rstrip(b"=").decode("ascii")


def unseal(sealed: object, purpose: str, token: bytes) -> UUID | None:
    """Return the id that :func:`seal` encrypted for this token; None for anything else."""
    if not isinstance(sealed, str) or len(sealed) != LENGTH or not sealed.isascii():
        return None
    # ValueError: not base64url. The last character has two unused bits, so only one of its four spellings is ours.
    try:
        blob = urlsafe_b64decode(sealed + "=")
        plain = _cipher(vault.derive("sealed-id")).decrypt(blob, [purpose.encode(), token])
    except (ValueError, InvalidTag):
        return None
    return UUID(bytes=plain) if urlsafe_b64encode(blob).rstrip(b"=").decode("ascii") == sealed else None
