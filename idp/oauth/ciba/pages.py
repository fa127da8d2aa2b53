"""The page on which a user decides a backchannel authentication request (CIBA Core section 8).

A mail or the account page leads to it. It needs a session of the user who was asked, with the level and age that a
sign-in at the client would need.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from litestar import Request, Response, get, post
from litestar.params import FromPath

from idp.accounts.repository.users import user_by_id
from idp.errors import PageError
from idp.federation.providers.base import LEEWAY
from idp.http import cookies, forms
from idp.http.access import Access
from idp.http.pages import page, see_other
from idp.infra.db.engine import transaction
from idp.infra.geoip import place
from idp.infra.i18n import gettext as _
from idp.oauth import consent
from idp.oauth.access_policies.decision import AccessDeniedError, check_session
from idp.oauth.access_policies.page import denied_page
from idp.oauth.authorize import acr, organization_decision, organization_policy
from idp.oauth.authorize.organization_decision import Decided
from idp.oauth.authorize.request import AuthorizationRequest, within_registration
from idp.oauth.ciba import GRANT_TYPE, repository, service
from idp.oauth.ciba.repository import WaitingRequest
from idp.oauth.clients.models import Client
from idp.oauth.clients.stored import stored_client
from idp.signin import flow as flows
from idp.signin import sessions
from idp.signin.csrf import check_form_token, form_token
from idp.signin.http import current_session, key_cookies, new_flow_key
from idp.signin.sessions import SignedIn

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}


class _Asking(NamedTuple):
    """A request that waits for the user of a session, and its client. ``asked`` is within its registration."""

    waiting: WaitingRequest
    asked: AuthorizationRequest
    client: Client
    session: SignedIn

    @property
    def path(self) -> str:
        return f"{service.PATH}/{self.waiting.id}"

    @property
    def form_purpose(self) -> str:
        return f"approve {self.waiting.id} {consent.form_purpose(self.asked, self.client, self.session)}"


async def _load(request: AnyRequest, request_id: UUID) -> _Asking | Response[Any]:
    """Return the request that waits for the user, or a redirect to the sign-in that it needs.

    Every later transaction checks that the session is still live.

    Raises:
        PageError: no request with this id waits for this user.
    """
    path = f"{service.PATH}/{request_id}"
    session = await current_session(request)
    if session is None:
        key = await new_flow_key(request)
        return see_other(flows.path(await flows.start(key, path)), key_cookies(key))
    sessions.guard_changes(session)
    waiting = await repository.find_waiting(session.user_id, request_id)
    client = await stored_client(waiting.client_id) if waiting is not None else None
    if waiting is None or client is None:
        raise service.gone()
    asked = within_registration(AuthorizationRequest.from_json(waiting.request), client)
    asking = _Asking(waiting, asked, client, session)
    return await _sign_in(request, asking) or asking


async def _sign_in(request: AnyRequest, asking: _Asking) -> Response[Any] | None:
    """Return a redirect to a sign-in, if the session is too old or its level too low for the request, or for the policy
    of the organization that it is for.
    """
    _waiting, asked, client, session = asking
    wanted = acr.requested(asked, client)
    young = _is_young(asking)
    # The level beyond the required one is offered once.
    offered = session.auth_time >= asking.waiting.created_at
    if young and acr.reaches(session.acr, wanted.essential if offered else wanted.acr):
        return await _sign_in_for(
            request, asking, await organization_decision.decided(asked, client, session.user_id, None)
        )
    step_up = session if young else None
    how = {"acr": wanted.acr, "required": wanted.essential, "max_age": asked.max_proof_age, "step_up": step_up}
    return await _to_sign_in(request, asking, how | {"display": await consent.display_of_request(asked, client)})


async def _sign_in_for(request: AnyRequest, asking: _Asking, decided: Decided | None) -> Response[Any] | None:
    """Return a redirect to the sign-in that the policy of the organization asks for, if it does."""
    _waiting, asked, client, session = asking
    membership = decided.membership if decided is not None else None
    if membership is None or organization_policy.unmet(membership, session) is None:
        return None
    how = organization_policy.sign_in(
        membership,
        session,
        display=await consent.display_of_request(asked, client, membership),
        wanted=acr.requested(asked, client),
        max_age=asked.max_proof_age,
    )
    return await _to_sign_in(request, asking, how)


async def _to_sign_in(request: AnyRequest, asking: _Asking, how: Mapping[str, Any]) -> Response[Any]:
    user = await user_by_id(asking.session.user_id)
    key = await new_flow_key(request)
    login_hint = user.email if user is not None else ""
    binding = await flows.start(key, asking.path, cancel_to=service.PATH, login_hint=login_hint, **how)
    return see_other(flows.path(binding), key_cookies(key))


def _is_young(asking: _Asking) -> bool:
    """Return whether the sign-in is not older than the request allows. One that was made for it stays young."""
    oldest, session, created_at = asking.asked.max_proof_age, asking.session, asking.waiting.created_at
    if oldest is None:
        return True
    if session.auth_time >= created_at:
        return session.proved_since(created_at - timedelta(seconds=oldest + LEEWAY))
    return session.age() <= oldest


async def _denied(request: AnyRequest, asking: _Asking) -> Response[Any] | None:
    """Return the page for a user who may not use the client; None: they may. They can still deny the request."""
    try:
        await check_session(asking.client, asking.session, GRANT_TYPE)
    except AccessDeniedError:
        return await denied_page(
            asking.client,
            asking.session,
            action=asking.path,
            csrf_token=form_token(_secret(request), asking.form_purpose),
            back="deny",
            may_switch=False,
        )
    return None


@get(f"{service.PATH}/{{request_id:uuid}}", opt=PAGE)
async def show_request(request: AnyRequest, request_id: FromPath[UUID]) -> Response[Any]:
    """Show what a client asks. It changes nothing."""
    asking = await _load(request, request_id)
    if isinstance(asking, Response):
        return asking
    if (denied := await _denied(request, asking)) is not None:
        return denied
    waiting, asked, client, session = asking
    user = await user_by_id(session.user_id)
    assert user is not None  # noqa: S101 -- a session is deleted with its user
    return page(
        "approve.html",
        action=asking.path,
        csrf_token=form_token(_secret(request), asking.form_purpose),
        user=user,
        binding_message=waiting.binding_message,
        created_at=waiting.created_at,
        place=place(waiting.ip_address),
        organizations=await _to_choose_from(asked, client, session),
        **consent.shown(asked, client, user),
    )


async def _to_choose_from(asked: AuthorizationRequest, client: Client, session: SignedIn) -> list[dict[str, str]]:
    """Return the organizations of the user, if one must be chosen."""
    decided = await organization_decision.decided(asked, client, session.user_id, None)
    if asked.organization is not None or decided is not None:
        return []
    return await organization_decision.offered(client, session.user_id)


@post(f"{service.PATH}/{{request_id:uuid}}", opt=PAGE)
async def decide_request(request: AnyRequest, request_id: FromPath[UUID]) -> Response[Any]:
    """Handle the decision of the user."""
    asking = await _load(request, request_id)
    if isinstance(asking, Response):
        return asking
    waiting, asked, client, session = asking
    form = await forms.form(request)
    check_form_token(form, _secret(request), asking.form_purpose)
    match form.get("action"):
        case "allow":
            if (denied := await _denied(request, asking)) is not None:
                return denied
            decided = await _with_organization(asked, client, session, form)
            if (sign_in := await _sign_in_for(request, asking, decided)) is not None:
                return sign_in
            async with transaction():
                await service.allow(waiting.id, decided.asked, client, session)
                await consent.save(asked, client, session)
            return see_other(f"{service.PATH}?done=request-allowed")
        case "deny":
            await service.deny(waiting.id, session, report=False)
            return see_other(f"{service.PATH}?done=request-denied")
        case "report":
            await service.deny(waiting.id, session, report=True)
            return see_other(f"{service.PATH}?done=request-reported")
    raise PageError(_("Please choose"), _("Allow or deny the request."))


async def _with_organization(
    asked: AuthorizationRequest, client: Client, session: SignedIn, form: Mapping[str, str]
) -> Decided:
    """Return the request with the organization that the user chose, if they had to.

    Raises:
        PageError: they chose none, or the request names one that they are not in.
    """
    chosen = await organization_decision.chosen_in(form, session.user_id)
    decided = await organization_decision.decided(asked, client, session.user_id, chosen)
    if decided is None and asked.organization is not None:
        raise PageError(
            _("You are not a member"), _("The application asks for an organisation that you do not belong to.")
        )
    if decided is None:
        raise PageError(_("Please choose"), _("Choose the organisation that you allow this for."))
    return decided


def _secret(request: AnyRequest) -> str:
    return cookies.read(request, cookies.SESSION) or ""


ROUTES = [show_request, decide_request]
