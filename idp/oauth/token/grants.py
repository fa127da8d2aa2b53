"""The grants. Discovery, client validation and the console read this list."""

from collections.abc import Awaitable, Callable
from typing import Final

from idp.oauth import ciba as backchannel
from idp.oauth import response_types
from idp.oauth.binding.confirmation import Prove
from idp.oauth.clients.models import Client
from idp.oauth.device import codes as device_codes
from idp.oauth.token import (
    authorization_code,
    ciba,
    client_credentials,
    device_code,
    jwt_bearer,
    refresh_token,
    token_exchange,
)
from idp.oauth.token.issuer import TokenResponse
from idp.settings import settings

#: Answers a request: takes the client, the parameters, and what gives the key that the request proves.
GrantFunction = Callable[[Client, dict[str, str], Prove], Awaitable[TokenResponse]]
#: Those of the token endpoint, by ``grant_type``.
GRANTS: dict[str, GrantFunction] = {
    "authorization_code": authorization_code.redeem,
    "refresh_token": refresh_token.refresh,
    "client_credentials": client_credentials.issue,
    token_exchange.GRANT_TYPE: token_exchange.exchange,
    jwt_bearer.GRANT_TYPE: jwt_bearer.redeem,
    device_codes.GRANT_TYPE: device_code.redeem,
    backchannel.GRANT_TYPE: ciba.redeem,
}
#: Those in which a user takes part, so that there may be refresh tokens.
WITH_USER: Final = ("authorization_code", device_codes.GRANT_TYPE, backchannel.GRANT_TYPE)
#: Says whether a grant is on. The others always are.
SWITCHES: dict[str, Callable[[], bool]] = {
    token_exchange.GRANT_TYPE: lambda: settings().token_exchange,
    jwt_bearer.GRANT_TYPE: jwt_bearer.is_on,
    device_codes.GRANT_TYPE: lambda: settings().device_grant,
    backchannel.GRANT_TYPE: backchannel.is_on,
}


def is_on(grant_type: str) -> bool:
    """Return whether the token endpoint supports a grant."""
    return grant_type in GRANTS and (grant_type not in SWITCHES or SWITCHES[grant_type]())


def grant_types() -> tuple[str, ...]:
    """Return every grant that a client may have: those of the token endpoint, and what a response type needs beside."""
    needed = {grant for each in response_types.supported() for grant in response_types.grants_of(each)}
    return (*filter(is_on, GRANTS), *sorted(needed - GRANTS.keys()))
