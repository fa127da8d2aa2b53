"""Encrypted ids of users and sessions inside values that clients read, so that clients cannot learn the ids.

AES-SIV (RFC 5297) with a derived key is deterministic: the same values always give the same text, so that a token can
be rebuilt byte for byte. The associated data is the purpose, and what the id is sealed for: the random part of a token
(docs/decisions/0048-keys-by-person.md), or a sector (docs/decisions/0057-pairwise-subjects.md). So the same user looks
different in each token or sector, and a sealed id cannot be moved to another one.
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


def seal(id: UUID, purpose: str, context: bytes) -> str:
    """Encrypt an id.

    Args:
        purpose: the kind of value, such as ``refresh-token``.
        context: what it is sealed for. Ids sealed for the same context can be compared.
    """
    sealed = _cipher(vault.derive("sealed-id")).encrypt(id.bytes, [purpose.encode(), context])
    return urlsafe_b64encode(sealed).rstrip(b"=").decode("ascii")


def unseal(sealed: object, purpose: str, context: bytes) -> UUID | None:
    """Return the id that :func:`seal` encrypted for this context; None for anything else."""
    if not isinstance(sealed, str) or len(sealed) != LENGTH or not sealed.isascii():
        return None
    # ValueError: not base64url. The last character has two unused bits, so only one of its four spellings is ours.
    try:
        blob = urlsafe_b64decode(sealed + "=")
        plain = _cipher(vault.derive("sealed-id")).decrypt(blob, [purpose.encode(), context])
    except (ValueError, InvalidTag):
        return None
    return UUID(bytes=plain) if urlsafe_b64encode(blob).rstrip(b"=").decode("ascii") == sealed else None
