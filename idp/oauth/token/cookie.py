"""Refresh tokens for browser clients: in a cookie that no script can read, and never in a body."""

from typing import Any

import msgspec
from litestar import Request
from litestar.datastructures import Cookie
from msgspec import UNSET

from idp.errors import InvalidRequestError
from idp.http import cookies
from idp.oauth.clients.models import Client
from idp.oauth.token.issuer import TokenResponse
from idp.settings import settings


def _name(client: Client) -> str:
    return f"refresh.{client.client_id}"


def check_origin(request: Request[Any, Any, Any], client: Client) -> None:
    """A cookie is sent by the browser, not by the client: only the client's own pages may make use of it.

    Raises:
        InvalidRequestError: the request comes from elsewhere.
    """
    if request.headers.get("origin") not in client.origins:
        raise InvalidRequestError("The Origin header must name a web origin of this client.")


def take(request: Request[Any, Any, Any], client: Client, form: dict[str, str]) -> dict[str, str]:
    """The parameters with the refresh token from the cookie in its place.

    Raises:
        InvalidRequestError: the request comes from elsewhere, or carries a refresh token in its body.
    """
    check_origin(request, client)
    if "refresh_token" in form:
        raise InvalidRequestError("This client's refresh token comes in a cookie.")
    token = cookies.read(request, _name(client))
    return form | {"refresh_token": token} if token else form


def deliver(client: Client, response: TokenResponse) -> tuple[TokenResponse, list[Cookie]]:
    """Move the refresh token out of the body into the cookie."""
    if response.refresh_token is UNSET:
        return response, []
    cookie = cookies.make(
        _name(client), response.refresh_token, max_age=settings().refresh_token_lifetime, samesite="strict"
    )
    return msgspec.structs.replace(response, refresh_token=UNSET), [cookie]


def delete(client: Client) -> Cookie:
    """Remove the cookie, after revocation."""
    return cookies.delete(_name(client), samesite="strict")
