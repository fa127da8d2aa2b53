"""What tells the JWTs that we sign apart.

The ``typ`` of the header does (RFC 8725 section 3.11), except for access tokens of a resource server that is registered
for ``JWT``: ID tokens have that too. An access token always names its client (RFC 9068 section 2.2), an ID token never
does by this claim.
"""

from collections.abc import Mapping
from typing import Any

#: The types that an access token may have: that of RFC 9068, and the general one for validators that know no other.
ACCESS_TOKEN_TYPES = ("at+jwt", "JWT")


def is_access_token(claims: Mapping[str, Any]) -> bool:
    """Whether these are the claims of an access token and not of an ID token."""
    return "client_id" in claims
