"""The response types, listed once (RFC 6749 section 3.1.1, OAuth 2.0 Multiple Response Types).

Discovery, client validation, the command line and the console read this list.
"""

from typing import Final

from idp.settings import settings

CODE: Final = "code"
#: Hybrid and implicit: :mod:`idp.oauth.authorize.legacy`.
LEGACY: Final = ("code id_token", "code token", "code id_token token", "id_token", "id_token token")
#: The grant that a client needs to get tokens from the authorization endpoint (OpenID Connect Registration section 2).
IMPLICIT: Final = "implicit"


def supported() -> tuple[str, ...]:
    """Return the response types that are switched on."""
    return (CODE, *LEGACY) if settings().legacy_response_types else (CODE,)


def canonical(response_type: str) -> str:
    """Return a response type with its words in the order of this list, which has no meaning; unknown ones unchanged."""
    words = sorted(response_type.split())
    return next((known for known in (CODE, *LEGACY) if sorted(known.split()) == words), response_type)


def grants_of(response_type: str) -> frozenset[str]:
    """Return the grants that a client of this response type needs."""
    words = set(response_type.split())
    code = {"authorization_code"} if "code" in words else set()
    return frozenset(code | ({IMPLICIT} if words & {"token", "id_token"} else set()))
