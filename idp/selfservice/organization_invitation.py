"""The page behind the link of an invitation into an organization.

Opening it changes nothing. A person without an account registers, which accepts the invitation; a person with one signs
in and accepts. Only the account with the invited address can.
"""

from typing import Any
from urllib.parse import urlencode

from litestar import Request, Response, get, post

from idp.accounts.repository.users import owner_of_email, user_by_id
from idp.directory import invited
from idp.directory.errors import InvitationEndedError, NotInvitedError
from idp.directory.invitations import PATH
from idp.directory.models import InvitationState, Offer
from idp.errors import PageError
from idp.http import cookies, forms
from idp.http.access import Access
from idp.http.pages import page, see_other
from idp.ids import digest
from idp.infra.i18n import gettext as _
from idp.signin import flow as flows
from idp.signin import sessions
from idp.signin.csrf import check_form_token, form_token
from idp.signin.flow import Occasion, Registration
from idp.signin.http import current_session, key_cookies, new_flow_key

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}
#: The page of the account that lists its organizations.
JOINED = "/account/organizations?done=organization-joined"
#: The parameter with the flow that the token is stored with until the sign-in returns.
KEPT = "kept"


@get(PATH, opt=PAGE)
async def show_organization_invitation(request: AnyRequest) -> Response[Any]:
    """Show the invitation. It changes nothing, because scanners of mail open links."""
    query = forms.query(request)
    token = query.get("token", "")
    if KEPT in query:
        session = await current_session(request)
        kept = await flows.stored_form(query[KEPT], session.user_id) if session is not None else {}
        token = kept.get("token", "")
        offer = await invited.by_token(token)
        if session is not None and offer is not None and offer.user_id == session.user_id:
            # It was accepted when the account was created.
            return see_other(JOINED)
    return await _page(request, token, await _offered(token))


async def _offered(token: str) -> Offer:
    """Return the open invitation of a token.

    Raises:
        PageError: there is none. It says why, because the token was in the mail.
    """
    offer = await invited.by_token(token)
    if offer is None:
        raise _over(
            _("This invitation no longer works"),
            _(
                "The invitation was revoked or replaced by a newer email. Look for a newer email, or ask for"
                " another invitation."
            ),
        )
    match offer.state:
        case InvitationState.ACCEPTED:
            raise _over(_("This invitation was already accepted"), _("Your account lists your organisations."))
        case InvitationState.DECLINED:
            raise _over(_("This invitation was declined"), _("If you declined by mistake, ask for a new invitation."))
        case InvitationState.REVOKED:
            raise _over(_("This invitation was revoked"), _("If you expected it, ask the person who invited you."))
        case InvitationState.EXPIRED:
            raise _over(_("This invitation has expired"), _("Ask for a new one."))
    if offer.organization_disabled:
        raise PageError(_("This organisation is switched off"), _("No one can join at the moment. Try again later."))
    return offer


def _over(title: str, message: str) -> PageError:
    mine = ((_("Your organisations"), "/account/organizations"),)
    return PageError(title, message, way_out=mine, template="flow_gone.html")


async def _page(request: AnyRequest, token: str, offer: Offer, *, declined: bool = False) -> Response[str]:
    session = await current_session(request)
    user = await user_by_id(session.user_id) if session is not None else None
    return page(
        "organization_invitation.html",
        action=PATH,
        token=token,
        csrf_token=form_token(_secret(request), PATH) if session is not None else "",
        offer=offer,
        user=user,
        accepts=user is not None and await invited.can_accept_by_link(offer, user),
        declined=declined,
    )


def _secret(request: AnyRequest) -> str:
    return cookies.read(request, cookies.SESSION) or ""


@post(PATH, opt=PAGE, status_code=200)
async def answer_organization_invitation(request: AnyRequest) -> Response[Any]:
    """Accept or decline the invitation, or start the sign-in that leads back here."""
    form = await forms.form(request)
    token = form.get("token", "")
    offer = await _offered(token)
    try:
        match form.get("action"):
            case "accept":
                return await _accept(request, form, token, offer)
            case "decline":
                return await _page(request, token, await invited.decline_by_link(token), declined=True)
    except InvitationEndedError:
        # Another request was faster: this says what it did.
        return await _page(request, token, await _offered(token))
    return await _sign_in(request, token, offer)


async def _accept(request: AnyRequest, form: dict[str, str], token: str, offer: Offer) -> Response[Any]:
    session = await current_session(request)
    if session is None:
        return await _sign_in(request, token, offer)
    check_form_token(form, _secret(request), PATH)
    sessions.guard_changes(session)
    try:
        await invited.accept(offer.id, session.user_id, token)
    except NotInvitedError:
        return await _page(request, token, offer)
    return see_other(JOINED)


async def _sign_in(request: AnyRequest, token: str, offer: Offer) -> Response[Any]:
    """Start a sign-in with the invited address. If nobody has it, the first step creates the account."""
    key = await new_flow_key(request)
    binding = key.bind()
    registration = None
    if await owner_of_email(offer.email) is None:
        registration = Registration(
            organization_invitation_id=offer.id, token_hash=digest(token), invited_email=offer.email
        )
    await flows.start(
        key,
        f"{PATH}?{urlencode({KEPT: binding.id})}",
        login_hint=offer.email,
        occasion=Occasion.SWITCH,
        registration=registration,
        binding=binding,
    )
    await flows.store_form(binding, {"token": token})
    path = flows.path(binding)
    return see_other(f"{path}/registration" if registration is not None else path, key_cookies(key))


ROUTES = [show_organization_invitation, answer_organization_invitation]
