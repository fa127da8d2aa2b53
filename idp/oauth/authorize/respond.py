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
    """Send the browser back to the client with the parameters of a response."""
    fields = parameters | ({"state": state} if state is not None else {}) | {"iss": settings().issuer}
    if response_mode == "form_post":
        form = page(
            "form_post.html",
            cookies=cookies,
            nonce=secrets.token_urlsafe(16),
            redirect_uri=redirect_uri,
            fields=fields,
        )
        # Under the policy of all other pages the POST would arrive with `Origin: null`, which clients refuse.
        form.headers["Referrer-Policy"] = "origin"
        return form
    # The client's own query stays as it was registered, and there is no fragment in it (RFC 6749 section 3.1.2).
    separator = "#" if response_mode == "fragment" else "&" if "?" in redirect_uri else "?"
    location = f"{redirect_uri}{separator}{urlencode(fields)}"
    # Browsers ask before they open another program, and may want a click for it: there must be a page to stay on.
    send = see_other if redirect_uri.startswith(("https:", "http:")) else navigate
    return send(location, cookies)


def respond_with_error(
    redirect_uri: str,
    response_mode: str,
    error: OAuthError,
    state: str | None,
    cookies: Sequence[Cookie] = (),
) -> Response[Any]:
    """Tell the client of a refusal (RFC 6749 section 4.1.2.1)."""
    parameters = {"error": error.code, "error_description": error.description}
    return respond(redirect_uri, response_mode, parameters, state, cookies)
