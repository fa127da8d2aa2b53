"""Secrets and signatures of requests by the Standard Webhooks specification (version 1.0.0)."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Collection
from typing import Final

from idp.keys import vault

SECRET_PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32


def new_secret(context: str) -> tuple[str, bytes]:
    """Return a new secret as its owner gets it, and encrypted.

    Args:
        context: the column and the row that it is stored in.
    """
    secret = secrets.token_bytes(SECRET_BYTES)
    return SECRET_PREFIX + base64.b64encode(secret).decode(), vault.encrypt(secret, context)


def sign(id: str, timestamp: int, body: bytes, keys: Collection[bytes]) -> dict[str, str]:
    """Return the headers of a signed request."""
    signed = f"{id}.{timestamp}.".encode() + body
    signatures = [base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys]
    return {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
