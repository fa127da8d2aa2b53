"""The page for a user whom the access policy of a client does not allow its use.

It does not say which condition does not hold. The client gets ``access_denied`` when the user goes back to it.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote

from litestar import Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.params import FromPath

from idp.accounts.addresses import InvalidEmailError, normalise_email
from idp.accounts.repository.users import user_by_id
from idp.errors import OAuthError, PageError
from idp.http import forms
from idp.http.access import Access
from idp.http.pages import navigate, page, see_other
from idp.infra.i18n import gettext as _
from idp.infra.request_context import Refusal, refusal
from idp.oauth import consent
from idp.oauth.access_policies import decision
from idp.oauth.access_policies.decision import AccessDeniedError
from idp.oauth.authorize import pending_request
from idp.oauth.authorize.client import find_client
from idp.oauth.authorize.pending_request import PendingRequest
from idp.oauth.authorize.request import AuthorizationRequest
from idp.oauth.clients.models import Client
from idp.settings import settings
from idp.signin import sessions
from idp.signin.csrf import check_form_token, form_token
from idp.signin.http import browser_of, current_session, key_cookies, new_flow_key
from idp.signin.sessions import SignedIn

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}


class Contact(NamedTuple):
    """Whom to ask for access. ``href`` is a link, if the text is an address or a URL."""

    text: str
    href: str | None


def _contacts(client: Client) -> list[Contact]:
    """Return whom to ask: the contacts of a client that an administrator registered, or the one of the server."""
    own = client.contacts if client.origin == "admin" else ()
    return [Contact(text, _link(text)) for text in own or filter(None, (settings().access_contact,))]


def _link(text: str) -> str | None:
    if text.lower().startswith("https://"):
        return text
    try:
        return f"mailto:{quote(normalise_email(text), safe='@')}"
    except InvalidEmailError:
        return None


async def denied_page(
    client: Client, session: SignedIn, *, action: str, csrf_token: str, back: str, may_switch: bool
) -> Response[str]:
    """Return the page.

    Args:
        action: the path to which its form is posted.
        back: the value of ``action`` of the button that goes back.
        may_switch: whether another user may sign in for this request.
    """
    return page(
        "access_denied.html",
        status=HTTPStatus.FORBIDDEN,
        action=action,
        csrf_token=csrf_token,
        client=consent.display(client),
        contacts=_contacts(client),
        user=await user_by_id(session.user_id),
        back=back,
        may_switch=may_switch,
    )


def path(pending: PendingRequest) -> str:
    return f"/access/{pending.binding.id}"


async def send_to(
    request: AnyRequest,
    asked: AuthorizationRequest,
    pending: PendingRequest | None,
    error: AccessDeniedError,
) -> Response[Any]:
    """Redirect the browser to the page. The authorization request waits there."""
    refusal.set(Refusal.of(error, asked.client_id))
    cookies: Sequence[Cookie] = ()
    if pending is None:
        key = await new_flow_key(request)
        pending, cookies = await pending_request.store(key, asked), key_cookies(key)
    return see_other(path(pending), cookies)


async def reason_to_cancel(client: Client, session: SignedIn | None) -> OAuthError:
    """Return the error for a user who goes back to a client without a sign-in."""
    if session is not None:
        reason = await decision.refusal(client, session.user_id)
        if reason is not None:
            return AccessDeniedError(reason, session.user_id)
    return OAuthError("access_denied", "The user cancelled the sign-in.")


class _Denial(NamedTuple):
    """A pending request, its client, and the session of the user who may not use it."""

    pending: PendingRequest
    client: Client
    session: SignedIn

    @property
    def form_purpose(self) -> str:
        return f"access {self.session.user_id}"


async def _load(request: AnyRequest, request_id: str) -> _Denial | Response[Any]:
    """Return the denial; or a redirect to the authorization request, if the user may use the client after all."""
    pending = await pending_request.load(browser_of(request), request_id)
    client = await find_client(pending.asked.client_id)
    session = await current_session(request)
    if client is None or session is None:
        return navigate(pending_request.path(pending))
    sessions.guard_changes(session)
    reason = await decision.refusal(client, session.user_id)
    if reason is None:
        return navigate(pending_request.path(pending))
    # The page shows the id of this request.
    refusal.set(Refusal.of(AccessDeniedError(reason, session.user_id), client.client_id))
    return _Denial(pending, client, session)


@get("/access/{request_id:str}", opt=PAGE)
async def show_denial(request: AnyRequest, request_id: FromPath[str]) -> Response[Any]:
    """Show the page. After a reload it goes on, if the user may use the client now."""
    denial = await _load(request, request_id)
    if isinstance(denial, Response):
        return denial
    pending, client, session = denial
    return await denied_page(
        client,
        session,
        action=path(pending),
        csrf_token=form_token(pending.binding.secret, denial.form_purpose),
        back="back",
        may_switch=pending.asked.subject is None,
    )


@post("/access/{request_id:str}", opt=PAGE)
async def leave_denial(request: AnyRequest, request_id: FromPath[str]) -> Response[Any]:
    """Go back to the client, or sign in as somebody else."""
    denial = await _load(request, request_id)
    if isinstance(denial, Response):
        return denial
    pending, client, _session = denial
    form = await forms.form(request)
    check_form_token(form, pending.binding.secret, denial.form_purpose)
    match form.get("action"):
        case "back":
            return navigate(f"{pending_request.path(pending)}/cancel")
        case "switch":
            return await consent.sign_in_as_another(request, pending, client)
    raise PageError(_("Please choose"), _("Go back to the application, or sign in with another account."))


ROUTES = [show_denial, leave_denial]
