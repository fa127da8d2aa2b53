"""Distinguishes access tokens from ID tokens.

The ``typ`` header distinguishes them (RFC 8725 section 3.11), except for a resource server that is registered for
``JWT``, which is also the type of ID tokens. An access token always has ``client_id`` (RFC 9068 section 2.2), an ID
token never does.
"""

from collections.abc import Mapping
from typing import Any

#: The types of access tokens: the one of RFC 9068, and the general one for validators that do not support it.
ACCESS_TOKEN_TYPES = ("at+jwt", "JWT")


def is_access_token(claims: Mapping[str, Any]) -> bool:
    """Return whether these are the claims of an access token and not of an ID token."""
    return "client_id" in claims
