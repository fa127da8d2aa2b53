"""The token endpoint: parse, authenticate, dispatch (RFC 6749 section 3.2)."""

from functools import partial
from typing import Any

import msgspec
from litestar import Request, post

from idp.errors import (
    InvalidDPoPProofError,
    InvalidGrantError,
    InvalidRequestError,
    OAuthError,
    UnauthorizedClientError,
)
from idp.http import forms
from idp.http.access import Access
from idp.http.cors import Cors
from idp.http.exception_handlers import NO_STORE
from idp.http.headers import encode, request_header
from idp.http.middleware import ON_SUCCESS
from idp.http.responses import BytesResponse
from idp.oauth.binding import proofs
from idp.oauth.clients.authentication import authenticate
from idp.oauth.clients.dynamic import expiry
from idp.oauth.refusals import token_refused
from idp.oauth.token import refresh_cookie
from idp.oauth.token.grants import GRANTS, is_on

#: RFC 6749 section 5.1.
HEADERS = encode({"Content-Type": "application/json"} | NO_STORE)


@post("/token", opt={"access": Access.CLIENT, "cors": Cors.CREDENTIALS, "quiet": ON_SUCCESS}, status_code=200)
async def token(request: Request[Any, Any, Any]) -> BytesResponse:
    """Answer a token request."""
    form = await forms.form(request)
    client = await authenticate(request_header(request.scope, b"authorization"), form)
    grant_type = form.get("grant_type")
    if grant_type is None:
        raise InvalidRequestError("grant_type is missing.")
    if not is_on(grant_type):
        raise OAuthError("unsupported_grant_type", "This grant_type is not supported.")
    grant = GRANTS[grant_type]
    if grant_type not in client.grant_types:
        raise UnauthorizedClientError("This client is not registered for this grant_type.")
    in_cookie = client.refresh_token_cookie
    if in_cookie and grant_type == "refresh_token":
        form = refresh_cookie.with_refresh_token(request, client, form)
    elif in_cookie:
        refresh_cookie.check_origin(request, client)
    try:
        response = await grant(client, form, partial(proofs.confirmation, request, client))
    except (InvalidGrantError, InvalidDPoPProofError) as error:
        if error.refused is not None:
            token_refused(error.refused, client.client_id, grant_type=grant_type)
        raise
    if client.unused:
        await expiry.keep(client)
    response, cookies = refresh_cookie.deliver(client, response) if in_cookie else (response, [])
    return BytesResponse(msgspec.json.encode(response), HEADERS, cookies=cookies)


ROUTES = [token]
