"""Authorization responses by each response mode, with ``iss`` in every one of them (RFC 9207).

A response as a JWT (JARM) has one parameter, ``response``, whose claims are the parameters of the others.
"""

import secrets
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from litestar import Response
from litestar.datastructures import Cookie

from idp import clock
from idp.errors import OAuthError, PageError
from idp.http.pages import navigate, page, see_other
from idp.infra.i18n import gettext as _
from idp.infra.request_context import Refusal, refusal
from idp.oauth import client_jwts
from idp.oauth.clients.models import Client
from idp.oauth.logout.session_management import BrowserState, session_state
from idp.settings import settings
from idp.trace import recorder

#: Seconds for which a response as a JWT is valid (JARM section 2.1 recommends up to ten minutes).
JWT_LIFETIME = 300


async def respond(
    client: Client,
    redirect_uri: str,
    response_mode: str,
    parameters: dict[str, str],
    state: str | None,
    *,
    browser_state: BrowserState | None = None,
) -> Response[Any]:
    """Return the authorization response: redirect the browser to the client.

    Args:
        browser_state: its ``session_state`` is added, and its cookies are set.
        response_mode: as :func:`idp.oauth.authorize.response_modes.effective` returns it.

    Raises:
        PageError: the response is a JWT that cannot be encrypted for the client.
    """
    fields = parameters | ({"state": state} if state is not None else {}) | {"iss": settings().issuer}
    cookies: tuple[Cookie, ...] = ()
    if browser_state is not None:
        cookies = browser_state.cookies
        fields |= session_state(client.client_id, redirect_uri, browser_state.value)
    way, _dot, as_jwt = response_mode.partition(".")
    if as_jwt:
        fields = {"response": await _jwt(client, fields)}
    if way == "form_post":
        form = page(
            "form_post.html",
            cookies=cookies,
            nonce=secrets.token_urlsafe(16),
            redirect_uri=redirect_uri,
            fields=fields,
        )
        # With the policy of the other pages the POST would have `Origin: null`, which clients refuse.
        form.headers["Referrer-Policy"] = "origin"
        return form
    # The registered query is kept; a registered URI has no fragment (RFC 6749 section 3.1.2).
    separator = "#" if way == "fragment" else "&" if "?" in redirect_uri else "?"
    location = f"{redirect_uri}{separator}{urlencode(fields)}"
    # Before a browser opens an app it may ask, or need a click, so there must be a page to stay on.
    send = see_other if redirect_uri.startswith(("https:", "http:")) else navigate
    return send(location, cookies)


async def _jwt(client: Client, fields: dict[str, str]) -> str:
    """Return the response as a JWT (JARM section 2.1). The ``iss`` of RFC 9207 is in it, and not repeated outside."""
    claims = fields | {"aud": client.client_id, "exp": clock.timestamp() + JWT_LIFETIME}
    try:
        return await client_jwts.make(client, "authorization", "JWT", claims)
    except OAuthError as error:
        raise PageError(
            _("This application sent a request that we cannot answer"),
            _("The application asked for an encrypted answer, but has no key for it."),
            code=error.code,
            status=HTTPStatus(error.status),
            hint=error.hint,
        ) from error


async def respond_with_error(
    client: Client,
    redirect_uri: str,
    response_mode: str,
    error: OAuthError,
    state: str | None,
    *,
    browser_state: BrowserState | None = None,
) -> Response[Any]:
    """Return the authorization error response (RFC 6749 section 4.1.2.1)."""
    refusal.set(Refusal.of(error, client.client_id))
    recorder.step("error_sent_to_client", error=error.code)
    parameters = {"error": error.code, "error_description": error.description}
    return await respond(client, redirect_uri, response_mode, parameters, state, browser_state=browser_state)
