"""Refresh tokens of browser clients: in an HttpOnly cookie, never in a body."""

from typing import Any

import msgspec
from litestar import Request
from litestar.datastructures import Cookie
from msgspec import UNSET

from idp.errors import InvalidRequestError, OAuthError
from idp.http import cookies
from idp.oauth.clients.models import Client
from idp.oauth.token import lifetimes
from idp.oauth.token.issuer import TokenResponse
from idp.reasons import Reason


class NoCookieError(OAuthError):
    """The browser has no refresh token of the client. A page that looks whether its user is signed in is no mistake of
    the client, so this is no ``invalid_request``, and no record of the audit trail.
    """

    def __init__(self) -> None:
        super().__init__("invalid_grant", "There is no cookie with a refresh token. The user has to sign in.")
        self.reason = Reason.TOKEN_MISSING


def _name(client: Client) -> str:
    return f"refresh.{client.client_id}"


def check_origin(request: Request[Any, Any, Any], client: Client) -> None:
    """Refuse a request that does not come from a page of the client: the browser sends the cookie for any page.

    Raises:
        InvalidRequestError: the Origin header names no origin of the client.
    """
    if request.headers.get("origin") not in client.origins:
        raise InvalidRequestError("The Origin header must name a web origin of this client.")


def with_refresh_token(request: Request[Any, Any, Any], client: Client, form: dict[str, str]) -> dict[str, str]:
    """Return the parameters, with ``refresh_token`` from the cookie if there is one.

    Raises:
        InvalidRequestError: the Origin header names no origin of the client, or the body has a refresh token.
    """
    check_origin(request, client)
    if "refresh_token" in form:
        raise InvalidRequestError("This client's refresh token comes in a cookie.")
    token = cookies.read(request, _name(client))
    return form | {"refresh_token": token} if token else form


def deliver(client: Client, response: TokenResponse) -> tuple[TokenResponse, list[Cookie]]:
    """Move the refresh token from the body into the cookie."""
    if response.refresh_token is UNSET:
        return response, []
    cookie = cookies.make(
        _name(client), response.refresh_token, max_age=lifetimes.of_refresh_tokens(client), samesite="strict"
    )
    return msgspec.structs.replace(response, refresh_token=UNSET), [cookie]


def delete(client: Client) -> Cookie:
    """Return the cookie that deletes the refresh token's cookie, after revocation."""
    return cookies.delete(_name(client), samesite="strict")
