"""The grants. Discovery, client validation and the console read this list."""

from collections.abc import Awaitable, Callable

from idp.oauth import response_types
from idp.oauth.binding.confirmation import Prove
from idp.oauth.clients.models import Client
from idp.oauth.token import authorization_code, client_credentials, refresh_token
from idp.oauth.token.issuer import TokenResponse

#: Answers a request: takes the client, the parameters, and what gives the key that the request proves.
GrantFunction = Callable[[Client, dict[str, str], Prove], Awaitable[TokenResponse]]
#: Those of the token endpoint, by ``grant_type``.
GRANTS: dict[str, GrantFunction] = {
    "authorization_code": authorization_code.redeem,
    "refresh_token": refresh_token.refresh,
    "client_credentials": client_credentials.issue,
}


def grant_types() -> tuple[str, ...]:
    """Return every grant that a client may have: those of the token endpoint, and what a response type needs beside."""
    needed = {grant for each in response_types.supported() for grant in response_types.grants_of(each)}
    return (*GRANTS, *sorted(needed - GRANTS.keys()))
