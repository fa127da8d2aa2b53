"""Token introspection (RFC 7662), as JSON or as a signed JWT (RFC 9701)."""

import re
from collections.abc import Mapping
from typing import Any

import structlog
from litestar import Request, post

from idp import clock
from idp.errors import InvalidClientError, InvalidRequestError, Refused
from idp.http import forms
from idp.http.access import Access
from idp.http.headers import encode, request_header
from idp.http.middleware import ON_SUCCESS
from idp.http.responses import BytesResponse, json
from idp.oauth import access_tokens, client_jwts, subjects
from idp.oauth.access_policies.decision import AccessDeniedError
from idp.oauth.access_tokens import LiveAccessToken
from idp.oauth.binding.confirmation import Confirmation
from idp.oauth.claims.evaluation import Asked, claims, decided, merged
from idp.oauth.claims.models import Place
from idp.oauth.claims.user import ClaimUser
from idp.oauth.clients import profiles
from idp.oauth.clients.authentication import authenticate
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.details.granted import at_resources, claim_of
from idp.oauth.details.models import Details
from idp.oauth.diagnosis import refused_refresh_token
from idp.oauth.token import lifetimes, refresh_jwt
from idp.oauth.token.repository.refresh_tokens import live_refresh_token
from idp.oauth.token_hook.service import Question, added
from idp.reasons import Reason
from idp.settings import settings

log = structlog.get_logger()

#: The ``typ`` of a response as a JWT; with ``application/`` its media type.
JWT_TYPE = "token-introspection+jwt"
JWT_NO_STORE = encode({"Content-Type": f"application/{JWT_TYPE}", "Cache-Control": "no-store"})
#: Reasons that also apply to a token of the other kind, because its key and header differ.
NOT_OF_THIS_KIND = frozenset({Reason.MALFORMED, Reason.BAD_SIGNATURE, Reason.WRONG_TYPE})


@post("/introspect", opt={"access": Access.CLIENT, "quiet": ON_SUCCESS}, status_code=200)
async def introspect(request: Request[Any, Any, Any]) -> BytesResponse:
    """Return the state and the claims of a token.

    A client may introspect its own tokens; a resource server, through its registered client, the access tokens with
    its identifier as audience. For any other caller every token is inactive (section 4).
    """
    form = await forms.form(request)
    client = await authenticate(request_header(request.scope, b"authorization"), form, "/introspect")
    if client.public:
        raise InvalidClientError("Introspection needs a client that can authenticate itself.")
    if "token" not in form:
        raise InvalidRequestError("token is missing.")
    answer = await _access_token(form["token"], client)
    if isinstance(answer, Refused) and answer.reason in NOT_OF_THIS_KIND:
        other = await _refresh_token(form["token"], client)
        answer = answer if isinstance(other, Refused) and other.reason in NOT_OF_THIS_KIND else other
    if isinstance(answer, Refused):
        answer = _inactive(client, answer)
    signed = profiles.rules(client).signed_introspection or _accepts_jwt(request_header(request.scope, b"accept"))
    return await _jwt(client, answer) if signed else json(answer)


def _inactive(client: Client, refused: Refused) -> dict[str, Any]:
    """Log the reason, and return the response, which does not contain it."""
    reason, user_id, family_id = refused
    log.info(
        "token_inactive",
        reason=reason,
        client_id=client.client_id,
        user_id=str(user_id) if user_id else None,
        family_id=str(family_id) if family_id else None,
    )
    return {"active": False}


async def _jwt(client: Client, content: Mapping[str, Any]) -> BytesResponse:
    """Return the response as a JWT (RFC 9701 section 5)."""
    # No `sub` and no `exp`, so that it cannot be taken for an access token.
    claims = {
        "iss": settings().issuer,
        "aud": client.client_id,
        "iat": clock.timestamp(),
        "token_introspection": content,
    }
    token = await client_jwts.make(client, "introspection", JWT_TYPE, claims)
    return BytesResponse(token.encode("ascii"), JWT_NO_STORE)


def _accepts_jwt(accept: str | None) -> bool:
    """Return whether an Accept header asks for a JWT (RFC 9701 section 4): by its media type, not with the weight 0."""
    if accept is None or JWT_TYPE not in accept.lower():
        return False
    for media_range in accept.lower().split(","):
        name, *parameters = [part.strip() for part in media_range.split(";")]
        if name == f"application/{JWT_TYPE}":
            return not any(re.fullmatch(r"q=0(\.0*)?", parameter) for parameter in parameters)
    return False


def _may_introspect(client: Client, token: LiveAccessToken) -> bool:
    servers = map(registry.resource_server, token.audience)
    return token.claims["client_id"] == client.client_id or any(
        server is not None and server.client_id == client.client_id for server in servers
    )


async def _access_token(token: str, client: Client) -> dict[str, Any] | Refused:
    live = await access_tokens.validate(token)
    if isinstance(live, Refused):
        return live
    if not _may_introspect(client, live):
        return Refused(Reason.WRONG_AUDIENCE, live.user_id)
    bound = Confirmation.of(live.claims)
    content = {name: value for name, value in live.claims.items() if name != "authorization_details"}
    content |= claim_of(_visible_details(client, live.claims))
    try:
        content = await _with_claims_of_user(content, live)
    except AccessDeniedError as error:
        return error.refused
    return content | {"active": True, "token_type": bound.token_type if bound else "Bearer"}


async def _with_claims_of_user(content: dict[str, Any], live: LiveAccessToken) -> dict[str, Any]:
    """Return the content of a token with the claims about the user as they are now. What is gone is left out."""
    if live.user_id is None:
        return content
    scopes = live.claims["scope"].split()
    asked = Asked(place=Place.INTROSPECTION, client=live.client, scopes=scopes, resource=live.resource)
    user = ClaimUser(live.user_id, live.directory_version, organization_id=live.organization_id)
    user.added = await added(
        Question(
            client=live.client, user=user, at=Place.INTROSPECTION, places=(Place.INTROSPECTION,), scopes=scopes,
            resource=live.resource, authentication=live.claims,
        )
    )  # fmt: skip
    now = await claims(asked, user)
    gone = decided(asked) - now.keys()
    return merged({name: value for name, value in content.items() if name not in gone}, now)


def _visible_details(client: Client, claims: Mapping[str, Any]) -> Details:
    """Return the authorization details that a client may see (RFC 9396 section 9.2): a resource server only its own."""
    details = tuple(claims.get("authorization_details", ()))
    if claims["client_id"] == client.client_id:
        return details
    servers = registry.resource_servers.values()
    return at_resources(details, {server.identifier for server in servers if server.client_id == client.client_id})


async def _refresh_token(token: str, client: Client) -> dict[str, Any] | Refused:
    """Introspect a refresh token, which only its own client may do."""
    presented = refresh_jwt.decode(token)
    if isinstance(presented, Refused):
        return presented
    not_before = lifetimes.oldest_family(client)
    live = await live_refresh_token(presented, client.client_id, not_before)
    if live is None:
        return await refused_refresh_token(presented, client.client_id, not_before)
    bound = Confirmation.from_json(live.confirmation)
    return {
        "active": True,
        "iss": settings().issuer,
        "client_id": client.client_id,
        "sub": subjects.subject(client, presented.user_id),
        "scope": live.scope,
        "jti": str(presented.jti),
        "iat": int(live.issued_at.timestamp()),
        "exp": int(live.expires_at.timestamp()),
        **({"cnf": bound.claim} if bound else {}),
    }


ROUTES = [introspect]
