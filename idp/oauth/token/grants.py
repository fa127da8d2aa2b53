"""The grants of the token endpoint. Discovery, client validation and the console read this list."""

from collections.abc import Awaitable, Callable

from idp.oauth.clients.models import Client
from idp.oauth.token import authorization_code, client_credentials, refresh_token
from idp.oauth.token.issuer import TokenResponse

#: By ``grant_type``, the function that answers a request.
GRANTS: dict[str, Callable[[Client, dict[str, str]], Awaitable[TokenResponse]]] = {
    "authorization_code": authorization_code.redeem,
    "refresh_token": refresh_token.refresh,
    "client_credentials": client_credentials.issue,
}
