"""The ``id_token_hint``: an ID token of ours, handed back to say who is meant."""

from typing import Any

from idp.errors import InvalidRequest
from idp.keys import jose
from idp.keys.ring import keyring
from idp.settings import settings


def read_id_token_hint(token: str) -> dict[str, Any]:
    """The claims of an ID token that we issued. One that has expired is as good as a fresh one
    (OpenID Connect RP-Initiated Logout section 2).

    Raises:
        InvalidRequest: it is not an ID token of ours.
    """
    try:
        claims = jose.verify(token, keyring.verification(), typ="JWT")
    except jose.InvalidJWT as error:
        raise InvalidRequest("id_token_hint is not an ID token of this server.") from error
    if claims.get("iss") != settings().issuer or not isinstance(claims.get("sub"), str):
        raise InvalidRequest("id_token_hint is not an ID token of this server.")
    return claims
