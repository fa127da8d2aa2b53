"""The organization that a user signs in for: named by the request, chosen on a page, or the only one."""

from typing import Any, NamedTuple

from litestar import Request, Response, get, post
from litestar.params import FromPath

from idp.accounts.repository.users import user_by_id
from idp.http import forms
from idp.http.access import Access
from idp.http.pages import navigate, page
from idp.oauth import consent
from idp.oauth.authorize import organization_decision, pending_request
from idp.oauth.authorize.client import find_client
from idp.oauth.authorize.pending_request import PendingRequest
from idp.oauth.clients.models import Client
from idp.signin import sessions
from idp.signin.csrf import check_form_token, form_token
from idp.signin.http import browser_of, current_session
from idp.signin.sessions import SignedIn

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}


def path(pending: PendingRequest) -> str:
    return f"{pending_request.path(pending)}/organization"


class _Asking(NamedTuple):
    """A pending request, its client, and the session of the user who is asked."""

    pending: PendingRequest
    client: Client
    session: SignedIn

    @property
    def form_purpose(self) -> str:
        return f"organization {self.session.user_id}"


async def _load(request: AnyRequest, request_id: str) -> _Asking | Response[Any]:
    """Return the request, or a redirect to it if nobody is signed in any more."""
    pending = await pending_request.load(browser_of(request), request_id)
    client, session = await find_client(pending.asked.client_id), await current_session(request)
    if client is None or session is None:
        return navigate(pending_request.path(pending))
    sessions.guard_changes(session)
    return _Asking(pending, client, session)


@get("/authorize/{request_id:str}/organization", opt=PAGE)
async def show_organizations(request: AnyRequest, request_id: FromPath[str]) -> Response[Any]:
    """Show the organizations of the user."""
    asking = await _load(request, request_id)
    if isinstance(asking, Response):
        return asking
    pending, client, session = asking
    return page(
        "organization.html",
        action=path(pending),
        csrf_token=form_token(pending.binding.secret, asking.form_purpose),
        client=consent.display(client),
        user=await user_by_id(session.user_id),
        organizations=await organization_decision.offered(client, session.user_id)
        if pending.asked.organization is None
        else [],
        lost=organization_decision.chosen_by(session.user_id, pending) is not None,
    )


@post("/authorize/{request_id:str}/organization", opt=PAGE)
async def choose_organization(request: AnyRequest, request_id: FromPath[str]) -> Response[Any]:
    """Record the choice of the user, and go on with the request."""
    asking = await _load(request, request_id)
    if isinstance(asking, Response):
        return asking
    pending, client, session = asking
    form = await forms.form(request)
    check_form_token(form, pending.binding.secret, asking.form_purpose)
    match form.get("action"):
        case "cancel":
            return navigate(f"{pending_request.path(pending)}/cancel")
        case "switch":
            return await consent.sign_in_as_another(request, pending, client)
    if (chosen := await organization_decision.chosen_in(form, session.user_id)) is None:
        return navigate(path(pending))
    await pending_request.choose_organization(pending, chosen, session.user_id)
    return navigate(pending_request.path(pending))


ROUTES = [show_organizations, choose_organization]
