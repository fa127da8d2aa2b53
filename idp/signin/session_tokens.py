"""The value of the session cookie: the id of the user, which every statement on the session needs, and a secret.

The *browser state* of OpenID Connect Session Management follows from it.

The id is not encrypted, because only the user's own browser has the cookie (docs/decisions/0048-keys-by-person.md).
"""

import hmac
import re
from base64 import urlsafe_b64encode
from typing import NamedTuple
from uuid import UUID

from idp import ids

_TOKEN = re.compile(r"([0-9a-f]{32})\.[A-Za-z0-9_-]{43}")


class SessionToken(NamedTuple):
    """A parsed token: the user, and the hash of the token, which covers the id too."""

    user_id: UUID
    hash: bytes


def new(user_id: UUID) -> str:
    """Return a new token of a user."""
    return f"{user_id.hex}.{ids.random_token()}"


def parse(token: str | None) -> SessionToken | None:
    """Parse a token that a browser sent. None for any text that does not have exactly this form."""
    match = _TOKEN.fullmatch(token or "")
    return SessionToken(UUID(match[1]), ids.digest(match[0])) if match else None


def browser_state(token: str) -> str:
    """Return what scripts may know of a session token: a value that changes with it, and from which it does not follow.

    The token has a random part of 256 bits, so it cannot be guessed from this HMAC of it.
    """
    return urlsafe_b64encode(hmac.digest(token.encode(), b"browser state", "sha256")[:16]).rstrip(b"=").decode()
