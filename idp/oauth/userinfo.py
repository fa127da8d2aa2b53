"""The UserInfo endpoint (OpenID Connect Core section 5.3)."""

from typing import Any

from litestar import HttpMethod, Request, route

from idp.errors import BearerError, InsufficientScopeError, InvalidRequestError, InvalidTokenError
from idp.http import forms
from idp.http.access import Access
from idp.http.cors import Cors
from idp.http.headers import encode
from idp.http.middleware import ON_SUCCESS
from idp.http.responses import BytesResponse, json
from idp.oauth import client_jwts, protected
from idp.oauth.access_policies.decision import AccessDeniedError
from idp.oauth.authorize.request import ClaimsRequest
from idp.oauth.claims.evaluation import Asked, claims
from idp.oauth.claims.models import Place
from idp.oauth.claims.user import ClaimUser
from idp.oauth.protected import PresentedToken
from idp.oauth.token.access_token import exchanges
from idp.oauth.token_hook.service import Question, added
from idp.settings import settings

AnyRequest = Request[Any, Any, Any]
JWT_NO_STORE = encode({"Content-Type": "application/jwt", "Cache-Control": "no-store"})


async def _presented_token(request: AnyRequest) -> PresentedToken | None:
    """Return the access token, from the header or from a form body (RFC 6750 sections 2.1 and 2.2). Never from a query.

    Raises:
        BearerError: there is one in both places.
    """
    in_header = protected.in_header(request)
    in_body = ""
    if request.method == HttpMethod.POST and forms.is_form(request):
        try:
            in_body = (await forms.form(request)).get("access_token", "")
        except InvalidRequestError as error:
            raise BearerError("invalid_request", error.description) from error
    if in_header and in_body:
        raise BearerError("invalid_request", "The access token is sent in more than one way.")
    return PresentedToken("bearer", in_body) if in_body else in_header


@route(
    "/userinfo",
    http_method=[HttpMethod.GET, HttpMethod.POST],
    opt={"access": Access.BEARER, "cors": Cors.ANY, "quiet": ON_SUCCESS},
    status_code=200,
)
async def userinfo(request: AnyRequest) -> BytesResponse:
    """Return the claims of the token's user: those of its scopes, and those that the request named.

    They are a JWT for a client that registered ``userinfo_signed_response_alg`` (section 5.3.2).
    """
    live = await protected.authenticate(request, await _presented_token(request), endpoint="userinfo", with_user=True)
    scopes = str(live.claims["scope"]).split()
    if live.user is None or "openid" not in scopes:
        raise InsufficientScopeError("openid")
    client = live.client
    # The user allowed these claims to the client of the family, not to one that has exchanged its token.
    requested = live.user.requested if not exchanges(live.claims["jti"]) else None
    asked = Asked(
        place=Place.USERINFO,
        client=client,
        scopes=scopes,
        requested=ClaimsRequest.from_json(requested).userinfo,
        profile=True,
    )
    user = ClaimUser(live.user.row["id"], live.directory_version, live.user.row, live.organization_id)
    try:
        user.added = await added(
            Question(
                client=client, user=user, at=Place.USERINFO, places=(Place.USERINFO,), scopes=scopes,
                resource=live.resource, authentication=live.claims,
            )
        )  # fmt: skip
    except AccessDeniedError as error:
        raise protected.refuse(InvalidTokenError(refused=error.refused), client.client_id, "userinfo") from error
    found = await claims(asked, user) | {"sub": live.claims["sub"]}
    if client.userinfo_signed_response_alg is None:
        return json(found)
    found |= {"iss": settings().issuer, "aud": client.client_id}
    signed = await client_jwts.make(client, "userinfo", "JWT", found)
    return BytesResponse(signed.encode("ascii"), JWT_NO_STORE)


ROUTES = [userinfo]
