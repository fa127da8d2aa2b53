"""The hybrid and implicit response types: tokens through the browser (OpenID Connect Core sections 3.2 and 3.3).

They exist only where the operator switches them on (``legacy_response_types``), and for clients that registered them. A
token in a URL gets into histories and to scripts, and is bound to no key of the client (RFC 9700 section 2.1.2).
"""

from idp import ids
from idp.audit.buffer import token_issued
from idp.errors import InvalidRequestError, InvalidScopeError, OAuthError, SessionEndedError, UnauthorizedClientError
from idp.oauth.access_policies.decision import AccessDeniedError
from idp.oauth.authorize.code import check_acr, check_member
from idp.oauth.authorize.request import AuthorizationRequest, granted_scope
from idp.oauth.claims.evaluation import access_token_claims
from idp.oauth.claims.models import Place
from idp.oauth.claims.user import ClaimUser
from idp.oauth.clients.models import Client
from idp.oauth.parameters import Parameters
from idp.oauth.response_types import CODE, IMPLICIT, supported
from idp.oauth.subjects import subject
from idp.oauth.token import lifetimes
from idp.oauth.token.access_token import access_token, family_jti
from idp.oauth.token.families import end_earlier_sign_ins
from idp.oauth.token.grant import Grant
from idp.oauth.token.id_token import Beside, id_token
from idp.oauth.token.repository.families import insert_family
from idp.oauth.token_hook import service
from idp.oauth.token_hook.models import Added
from idp.signin.sessions import SignedIn


def check(parameters: Parameters, client: Client, response_type: str) -> None:
    """Check what a request for another response type than ``code`` needs.

    Raises:
        OAuthError: the request is refused.
    """
    _check_registered(response_type, client)
    words = response_type.split()
    for name in ("dpop_jkt", "authorization_details"):
        if "token" in words and name in parameters:
            raise InvalidRequestError(f"{name} needs the response_type code.")
    if "id_token" in words and "nonce" not in parameters:
        raise InvalidRequestError("nonce is missing: this response_type needs it.")
    if "openid" not in granted_scope(parameters, client):
        raise InvalidScopeError("This response_type needs the scope openid.")


def _check_registered(response_type: str, client: Client) -> None:
    """Check that a client may use a response type now.

    Raises:
        OAuthError: it may not.
    """
    if response_type not in supported():
        raise OAuthError("unsupported_response_type", f"response_type must be one of {', '.join(supported())}.")
    if response_type not in client.response_types:
        raise UnauthorizedClientError("This client is not registered for this response_type.")
    bound = client.dpop_bound_access_tokens or client.tls_client_certificate_bound_access_tokens
    if bound and "token" in response_type.split():
        raise UnauthorizedClientError("The access tokens of this client are bound to a key, which this flow cannot do.")


async def ask_hook(asked: AuthorizationRequest, client: Client, session: SignedIn) -> Added:
    """Return the claims that the token hook of a client adds to the tokens of an authorization response.

    Call it before the transaction that finishes the request.

    Raises:
        OAuthError: ``access_denied``: the hook denies the tokens; ``temporarily_unavailable``: it gave no answer.
    """
    words = asked.response_type.split()
    places = {"token": Place.ACCESS_TOKEN, "id_token": Place.ID_TOKEN}
    user = ClaimUser(session.user_id, organization_id=asked.organization_id)
    try:
        return await service.added(
            service.Question(
                client=client,
                user=user,
                at=IMPLICIT,
                places=tuple(place for word, place in places.items() if word in words),
                scopes=[scope for scope in asked.scope if scope != "offline_access"],
                resource=asked.resource,
                authentication={"acr": session.acr, "amr": list(session.amr)},
            )
        )
    except AccessDeniedError as error:
        raise OAuthError("access_denied", error.description, refused=error.refused) from error


async def start(asked: AuthorizationRequest, client: Client, session: SignedIn) -> Grant:
    """Return the grant of the tokens in an authorization response, in the transaction that finishes the request.

    Its family ends with the session: there is no refresh token, and so no offline access. A response that has a code
    and no access token needs no family of its own.

    Raises:
        OAuthError: the session does not reach the required ``acr``, or the client may no longer use the response type.
        OAuthError: ``access_denied``: the user is not a member of the organization any more.
        SessionEndedError: the session ended since the request began.
    """
    _check_registered(asked.response_type, client)
    check_acr(asked, client, session)
    grant = Grant(
        family_id=ids.uuid7(),
        user_id=session.user_id,
        session_id=session.id,
        scope=" ".join(scope for scope in asked.scope if scope != "offline_access"),
        resource=asked.resource,
        claims=asked.claims_json,
        # Only a code carries them.
        authorization_details=None,
        nonce=asked.nonce,
        auth_time=session.auth_time,
        auth_age=session.auth_age,
        amr=session.amr,
        acr=session.acr,
        organization_id=asked.organization_id,
    )
    words = asked.response_type.split()
    if "token" not in words and CODE in words:
        return grant
    stored = await insert_family(grant, client.client_id, lifetimes.of_access_tokens(client))
    if stored is None:
        await check_member(asked, session)
        raise SessionEndedError
    await end_earlier_sign_ins(client, session.user_id, session.auth_time)
    return stored


async def tokens(
    asked: AuthorizationRequest, client: Client, grant: Grant, code: str | None, added: Added
) -> dict[str, str]:
    """Return the parameters of the response beside the code (OpenID Connect Core sections 3.2.2.5 and 3.3.2.5)."""
    words, found = asked.response_type.split(), dict[str, str]()
    token = None
    if "token" in words:
        token = await _access_token(client, grant, added)
        found = {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": str(lifetimes.of_access_tokens(client)),
            "scope": grant.scope,
        }
    if "id_token" in words:
        found["id_token"] = await id_token(client, grant, grant.scope, Beside(token, code, asked.state), added)
    return found


async def _access_token(client: Client, grant: Grant, added: Added) -> str:
    jti = family_jti(grant.family_id)
    token_issued(
        IMPLICIT,
        client.client_id,
        jti,
        user_id=grant.user_id,
        session_id=grant.session_id,
        family_id=grant.family_id,
    )
    user = ClaimUser(grant.user_id, grant.directory_version, organization_id=grant.organization_id, added=added)
    return access_token(
        client,
        subject(client, grant.user_id),
        grant.scope,
        grant.resource,
        jti,
        about=await access_token_claims(client, grant.scope.split(), grant.resource, user),
        **grant.authentication_claims,
    )
