"""The grant of a request that its user approved on another device, and whose client polls for the tokens."""

from uuid import UUID

from idp.oauth.authorize.request import ApprovedRequest, AuthorizationRequest, check_registration, within_registration
from idp.oauth.clients.models import Client
from idp.oauth.details.granted import to_json
from idp.oauth.token.grant import Grant


def grant_of(approved: ApprovedRequest, client: Client, family_id: UUID) -> Grant:
    """Return what the user approved, without what the client may no longer request.

    Raises:
        InvalidScopeError: nothing is left of it.
        InvalidTargetError: the client may no longer get tokens for one of the resource servers.
    """
    asked = within_registration(AuthorizationRequest.from_json(approved.request), client)
    check_registration(asked, client)
    return Grant(
        family_id=family_id,
        user_id=approved.user_id,
        session_id=None,
        scope=" ".join(asked.scope),
        resource=asked.resource,
        claims=asked.claims_json,
        authorization_details=to_json(asked.authorization_details),
        nonce=None,
        auth_time=approved.auth_time,
        auth_age=approved.auth_age,
        amr=approved.amr,
        acr=approved.acr,
        organization_id=asked.organization_id,
    )
