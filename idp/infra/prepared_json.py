"""JSON documents that are encoded once and served many times."""

import hashlib
from typing import Any

import msgspec


class PreparedJSON(msgspec.Struct, frozen=True):
    """An encoded JSON document with its strong entity tag (RFC 9110 section 8.8.3)."""

    body: bytes
    etag: str


def prepare(value: Any) -> PreparedJSON:
    """Encode a document."""
    body = msgspec.json.encode(value)
    return PreparedJSON(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
