"""Secrets and signatures of requests by the Standard Webhooks specification (version 1.0.0)."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Collection
from typing import Final

from idp.errors import ValidationError
from idp.keys import vault

SECRET_PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32
#: Bytes of a secret that an administrator chose.
CHOSEN_BYTES: Final = range(24, 65)


def new_secret(context: str, chosen: str | None = None) -> tuple[str, bytes]:
    """Return a secret as its owner gets it, and encrypted.

    Args:
        context: the column and the row that it is stored in.
        chosen: by default a random one.

    Raises:
        ValidationError: the chosen one has another form.
    """
    secret = key_of(chosen) if chosen is not None else secrets.token_bytes(SECRET_BYTES)
    return SECRET_PREFIX + base64.b64encode(secret).decode(), vault.encrypt(secret, context)


def key_of(secret: str) -> bytes:
    """Return the key that a secret stands for.

    Raises:
        ValidationError: it has another form.
    """
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or len(key) not in CHOSEN_BYTES:
        raise ValidationError(
            f"The secret must be {SECRET_PREFIX} and {CHOSEN_BYTES[0]} to {CHOSEN_BYTES[-1]} bytes in base64."
        )
    return key


def sign(id: str, timestamp: int, body: bytes, keys: Collection[bytes]) -> dict[str, str]:
    """Return the headers of a signed request."""
    signed = f"{id}.{timestamp}.".encode() + body
    signatures = [base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys]
    return {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
