"""Issuing authorization codes (RFC 6749 section 4.1.2)."""

from idp import ids
from idp.errors import FlowFinishedError, OAuthError, SessionEndedError
from idp.oauth import codes
from idp.oauth.authorize import acr, repository
from idp.oauth.authorize.repository import NewCode
from idp.oauth.authorize.request import AuthorizationRequest
from idp.oauth.binding.confirmation import Confirmation
from idp.oauth.clients import profiles
from idp.oauth.clients.models import Client
from idp.oauth.details.granted import to_json
from idp.settings import settings
from idp.signin.sessions import SignedIn


def check_acr(asked: AuthorizationRequest, client: Client, session: SignedIn) -> None:
    """Check that a session reaches the ``acr`` that the client or the request requires, on every path to a response.

    Raises:
        OAuthError: it does not.
    """
    if not acr.reaches(session.acr, acr.requested(asked, client).essential):
        raise OAuthError("unmet_authentication_requirements", "The user must show a further factor.")


def _lifetime(client: Client) -> int:
    configured = settings().authorization_code_lifetime
    return min(configured, profiles.rules(client).code_lifetime or configured)


async def issue_code(asked: AuthorizationRequest, client: Client, session: SignedIn) -> str:
    """Issue a code for an authorization request and the user of a session. Only its hash is stored.

    A pushed request is used up in the same statement.

    Raises:
        OAuthError: the session does not reach the required ``acr``.
        SessionEndedError: the session ended since the request began.
        FlowFinishedError: there was an authorization response to the pushed request already.
    """
    check_acr(asked, client, session)
    code = codes.new(session.user_id)
    stored = await repository.insert_code(
        NewCode(
            code_hash=ids.digest(code),
            pushed=asked.pushed,
            family_id=ids.uuid7(),
            client_id=asked.client_id,
            user_id=session.user_id,
            session_id=session.id,
            redirect_uri=asked.redirect_uri,
            code_challenge=asked.code_challenge,
            nonce=asked.nonce,
            scope=" ".join(asked.scope),
            resource=" ".join(asked.resource),
            claims=asked.claims_json,
            confirmation=Confirmation(jkt=asked.dpop_jkt).to_json() if asked.dpop_jkt else None,
            authorization_details=to_json(asked.authorization_details),
            offline_access="offline_access" in asked.scope,
            auth_time=session.auth_time,
            auth_age=session.auth_age,
            amr=" ".join(session.amr),
            acr=session.acr,
            lifetime=_lifetime(client),
        )
    )
    if stored is None:
        raise SessionEndedError
    if not stored:
        raise FlowFinishedError
    return code
