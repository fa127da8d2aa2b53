"""The token endpoint: parse, authenticate, dispatch (RFC 6749 section 3.2)."""

from functools import partial
from typing import Any

import msgspec
from litestar import Request, post

from idp.errors import (
    IdpError,
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
from idp.http.middleware import ON_SUCCESS, OTHER
from idp.http.responses import BytesResponse
from idp.infra.metrics.declared import Counter
from idp.infra.tracing import spans
from idp.oauth.binding import proofs
from idp.oauth.clients.authentication import authenticate
from idp.oauth.clients.dynamic import expiry
from idp.oauth.refusals import token_refused
from idp.oauth.token import refresh_cookie
from idp.oauth.token.grants import GRANTS, is_on

#: RFC 6749 section 5.1.
HEADERS = encode({"Content-Type": "application/json"} | NO_STORE)


GRANTED = Counter(
    "idp_grants", "Token requests, by grant, outcome and reason.", "grant_type", "outcome", "error", "reason"
)


@post("/token", opt={"access": Access.CLIENT, "cors": Cors.CREDENTIALS, "quiet": ON_SUCCESS}, status_code=200)
async def token(request: Request[Any, Any, Any]) -> BytesResponse:
    """Answer a token request."""
    form = await forms.form(request)
    grant_type = form.get("grant_type")
    name = grant_type if grant_type in GRANTS else OTHER
    spans.annotate("idp.grant_type", name)
    try:
        response = await _grant(request, form, grant_type)
    except IdpError as error:
        refused = error.refused if isinstance(error, OAuthError) else None
        GRANTED.add(name, "failure", error.code or "", (refused.reason if refused else error.reason) or "")
        raise
    GRANTED.add(name, "success", "", "")
    return response


async def _grant(request: Request[Any, Any, Any], form: dict[str, str], grant_type: str | None) -> BytesResponse:
    client = await authenticate(request_header(request.scope, b"authorization"), form)
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
        if "refresh_token" not in form:
            raise refresh_cookie.NoCookieError
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
