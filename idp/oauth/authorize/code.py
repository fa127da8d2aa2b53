"""Issuing authorization codes (RFC 6749 section 4.1.2)."""

from uuid import UUID

from idp import ids
from idp.directory.effective import is_member_of
from idp.errors import FlowFinishedError, OAuthError, Refused, SessionEndedError
from idp.oauth import codes
from idp.oauth.authorize import acr, repository
from idp.oauth.authorize.repository import NewCode
from idp.oauth.authorize.request import AuthorizationRequest
from idp.oauth.binding.confirmation import Confirmation
from idp.oauth.clients import profiles
from idp.oauth.clients.models import Client
from idp.oauth.details.granted import to_json
from idp.reasons import Reason
from idp.settings import settings
from idp.signin.sessions import SignedIn
from idp.trace import recorder


def check_acr(asked: AuthorizationRequest, client: Client, session: SignedIn) -> None:
    """Check that a session reaches the ``acr`` that the client or the request requires, on every path to a response.

    Raises:
        OAuthError: it does not.
    """
    if not acr.reaches(session.acr, acr.requested(asked, client).essential):
        raise OAuthError("unmet_authentication_requirements", "The user must show a further factor.")


async def check_member(asked: AuthorizationRequest, session: SignedIn) -> None:
    """Check that the user is a member of the organization of a request, after a statement has stored nothing.

    Raises:
        OAuthError: ``access_denied``: the user is not, or the organization was disabled or deleted.
    """
    if asked.organization_id is not None and not await is_member_of(session.user_id, asked.organization_id):
        raise not_member(session.user_id)


def not_member(user_id: UUID) -> OAuthError:
    """Return the error of a request for an organization. It does not say whether there is such an organization."""
    refused = Refused(Reason.NOT_A_MEMBER, user_id)
    return OAuthError("access_denied", "The user is not a member of the organization.", refused=refused)


def _lifetime(client: Client) -> int:
    configured = settings().authorization_code_lifetime
    return min(configured, profiles.rules(client).code_lifetime or configured)


async def issue_code(asked: AuthorizationRequest, client: Client, session: SignedIn) -> str:
    """Issue a code for an authorization request and the user of a session. Only its hash is stored.

    A pushed request is used up in the same statement.

    Raises:
        OAuthError: the session does not reach the required ``acr``, or the user is not a member of the organization.
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
            organization_id=asked.organization_id,
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
            trace_id=recorder.trace_id(),
            lifetime=_lifetime(client),
        )
    )
    if stored is None:
        await check_member(asked, session)
        raise SessionEndedError
    if not stored:
        raise FlowFinishedError
    with recorder.explanation:
        recorder.step("code_issued", scope=asked.scope, lifetime_seconds=_lifetime(client))
    return code
