"""Authorization responses: the response modes, and ``iss`` in every one of them (RFC 9207)."""

import secrets
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from litestar import Response
from litestar.datastructures import Cookie

from idp.errors import OAuthError
from idp.http.pages import navigate, page, see_other
from idp.settings import settings


def respond(
    redirect_uri: str,
    response_mode: str,
    parameters: dict[str, str],
    state: str | None,
    cookies: Sequence[Cookie] = (),
) -> Response[Any]:
    """Return the authorization response: redirect the browser to the client."""
    fields = parameters | ({"state": state} if state is not None else {}) | {"iss": settings().issuer}
    if response_mode == "form_post":
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
    separator = "#" if response_mode == "fragment" else "&" if "?" in redirect_uri else "?"
    location = f"{redirect_uri}{separator}{urlencode(fields)}"
    # Before a browser opens an app it may ask, or need a click, so there must be a page to stay on.
    send = see_other if redirect_uri.startswith(("https:", "http:")) else navigate
    return send(location, cookies)


def respond_with_error(
    redirect_uri: str,
    response_mode: str,
    error: OAuthError,
    state: str | None,
    cookies: Sequence[Cookie] = (),
) -> Response[Any]:
    """Return the authorization error response (RFC 6749 section 4.1.2.1)."""
    parameters = {"error": error.code, "error_description": error.description}
    return respond(redirect_uri, response_mode, parameters, state, cookies)
