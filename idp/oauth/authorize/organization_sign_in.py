"""Before a sign-in for an organization, a browser is sent to the choice of one, and to the sign-in that it asks for."""

from typing import Any

from litestar import Request, Response

from idp.accounts.attributes.registry import attributes
from idp.accounts.repository.users import user_by_id
from idp.errors import OAuthError, Refused
from idp.http.pages import see_other
from idp.oauth import consent
from idp.oauth.authorize import acr, organization_choice, organization_decision, organization_policy, pending_request
from idp.oauth.authorize.organization_decision import Decided
from idp.oauth.authorize.pending_request import PendingRequest
from idp.oauth.authorize.request import AuthorizationRequest
from idp.oauth.clients.models import Client
from idp.reasons import Reason
from idp.signin import flow as flows
from idp.signin.http import key_cookies, new_flow_key
from idp.signin.sessions import SignedIn


def is_sufficient(decided: Decided, session: SignedIn) -> bool:
    """Return whether a session meets the policy of the organization, if there is one."""
    return organization_policy.unmet(decided.membership, session) is None


async def ask(
    request: Request[Any, Any, Any],
    asked: AuthorizationRequest,
    client: Client,
    session: SignedIn,
    *,
    decided: Decided | None,
    pending: PendingRequest | None,
) -> Response[Any]:
    """Redirect the browser to the choice of an organization, or to the sign-in that the policy of this one asks for.

    Raises:
        OAuthError: ``prompt`` is ``none``.
    """
    if "none" in asked.prompt:
        raise _cannot_ask(asked, session, decided)
    if decided is None or decided.membership is None:
        cookies = []
        if pending is None:
            key = await new_flow_key(request)
            pending, cookies = await pending_request.store(key, asked), key_cookies(key)
        return see_other(organization_choice.path(pending), cookies)
    user = await user_by_id(session.user_id)
    key = await new_flow_key(request)
    pending = pending or await pending_request.store(key, asked)
    how = organization_policy.sign_in(
        decided.membership,
        session,
        display=await consent.display_of_request(asked, client, decided.membership),
        wanted=acr.requested(asked, client),
        max_age=asked.max_proof_age,
    )
    binding = await flows.start(
        key,
        pending_request.path(pending),
        cancel_to=f"{pending_request.path(pending)}/cancel",
        login_hint=user.email if user is not None else asked.login_hint,
        attributes=attributes.required_for(client.client_id),
        **how,
    )
    return see_other(flows.path(binding), key_cookies(key))


def _cannot_ask(asked: AuthorizationRequest, session: SignedIn, decided: Decided | None) -> OAuthError:
    reason = organization_policy.unmet(decided.membership, session) if decided is not None else None
    if reason is None:
        return organization_decision.cannot_ask(asked, session.user_id)
    error = "interaction_required" if reason is Reason.ACR_TOO_LOW else "login_required"
    description = "The organization asks for another sign-in of the user."
    return OAuthError(error, description, refused=Refused(reason, session.user_id))
