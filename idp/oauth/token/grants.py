"""The grants of the token endpoint. Discovery, client validation and the console read this list."""

from collections.abc import Awaitable, Callable

from idp.oauth.binding.confirmation import Prove
from idp.oauth.clients.models import Client
from idp.oauth.token import authorization_code, client_credentials, refresh_token
from idp.oauth.token.issuer import TokenResponse

#: Answers a request: takes the client, the parameters, and what gives the key that the request proves.
GrantFunction = Callable[[Client, dict[str, str], Prove], Awaitable[TokenResponse]]
#: By ``grant_type``.
GRANTS: dict[str, GrantFunction] = {
    "authorization_code": authorization_code.redeem,
    "refresh_token": refresh_token.refresh,
    "client_credentials": client_credentials.issue,
}
