"""The UserInfo endpoint (OpenID Connect Core section 5.3)."""

from typing import Any

from litestar import HttpMethod, Request, route

from idp.accounts.claims import claims_of
from idp.errors import (
    BearerError,
    InsufficientScopeError,
    InvalidRequestError,
    InvalidTokenError,
    MissingTokenError,
    Refused,
)
from idp.http import forms
from idp.http.access import Access
from idp.http.cors import Cors
from idp.http.headers import request_header
from idp.http.middleware import ON_SUCCESS
from idp.http.responses import BytesResponse, json
from idp.oauth import access_tokens
from idp.oauth.authorize.request import ClaimsRequest
from idp.oauth.clients.registry import registry
from idp.oauth.refusals import access_token_refused
from idp.oauth.scopes import claims_of_scopes, visible_claims

AnyRequest = Request[Any, Any, Any]


async def _bearer_token(request: AnyRequest) -> str:
    """Return the access token, from the header or from a form body (RFC 6750 sections 2.1 and 2.2). Never from a query.

    Raises:
        BearerError: there is no token, or one in both places.
    """
    scheme, _, token = (request_header(request.scope, b"authorization") or "").partition(" ")
    in_header = token.strip() if scheme.lower() == "bearer" else ""
    in_body = ""
    if request.method == HttpMethod.POST and request.headers.get("content-type", "").startswith(forms.FORM):
        try:
            in_body = (await forms.form(request)).get("access_token", "")
        except InvalidRequestError as error:
            raise BearerError("invalid_request", error.description) from error
    if in_header and in_body:
        raise BearerError("invalid_request", "The access token is sent in more than one way.")
    if not in_header and not in_body:
        raise MissingTokenError
    return in_header or in_body


@route(
    "/userinfo",
    http_method=[HttpMethod.GET, HttpMethod.POST],
    opt={"access": Access.BEARER, "cors": Cors.ANY, "quiet": ON_SUCCESS},
    status_code=200,
)
async def userinfo(request: AnyRequest) -> BytesResponse:
    """Return the claims of the token's user: those of its scopes, and those that the request named."""
    live = await access_tokens.validate(await _bearer_token(request), with_user=True)
    if isinstance(live, Refused):
        access_token_refused(live, None, endpoint="userinfo")
        raise InvalidTokenError(refused=live)
    scopes = str(live.claims["scope"]).split()
    if live.user is None or "openid" not in scopes:
        raise InsufficientScopeError("openid")
    names = claims_of_scopes(scopes)
    client = registry.client(live.claims["client_id"])
    if live.user.requested and client is not None:
        names += visible_claims(ClaimsRequest.from_json(live.user.requested).userinfo, client.scopes)
    claims = {"sub": live.claims["sub"]} | claims_of(live.user.row, names)
    return json(claims)


ROUTES = [userinfo]
