"""The ``id_token_hint``: an ID token of this server that names a user."""

from typing import Any

from idp.errors import InvalidRequestError
from idp.keys import jose
from idp.keys.key_set import key_set
from idp.oauth.token_types import is_access_token
from idp.settings import settings


def read_id_token_hint(token: str) -> dict[str, Any]:
    """Return the claims of an ID token of this server. Expired tokens and tokens of retired keys are accepted (OpenID
    Connect RP-Initiated Logout section 2).

    A token signed by a revoked key is refused: an attacker who has the key can name any user and any session.

    Raises:
        InvalidRequestError: it is not an ID token of this server.
    """
    try:
        claims = jose.verify(token, key_set.hinting(), typ="JWT")
    except jose.InvalidJWTError as error:
        raise _not_ours(str(error)) from error
    if is_access_token(claims):
        raise _not_ours("It is an access token.")
    if claims.get("iss") != settings().issuer or not isinstance(claims.get("sub"), str):
        raise _not_ours("Its issuer is another one, or it names no subject.")
    if "exp" not in claims:
        raise _not_ours("It is a userinfo response.")
    return claims


def _not_ours(why: str) -> InvalidRequestError:
    return InvalidRequestError("id_token_hint is not an ID token of this server.", hint=f"id_token_hint: {why}")
