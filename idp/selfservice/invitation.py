"""Accepting an invitation: its link starts a sign-in flow that may create the account."""

from typing import Any

from litestar import Request, Response, get, post

from idp.accounts import invitations
from idp.accounts.repository.invitations import PendingInvitation
from idp.errors import PageError
from idp.http import forms
from idp.http.access import Access
from idp.http.pages import page, see_other
from idp.infra.i18n import gettext as _
from idp.signin import flow as flows
from idp.signin.flow import Registration
from idp.signin.http import key_cookies, new_flow_key
from idp.signin.transitions import Step

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}


async def _invited(token: str) -> PendingInvitation:
    invited = await invitations.find_pending(token)
    if invited is None:
        raise PageError(
            _("This invitation no longer works"),
            _("The link was already used or has expired. Ask for a new one."),
            way_out=((_("Sign in"), "/login"),),
            template="flow_gone.html",
        )
    return invited


@get("/invitation", opt=PAGE)
async def show_invitation(request: AnyRequest) -> Response[Any]:
    """Show the target of the link. It changes nothing."""
    token = forms.query(request).get("token", "")
    return page("invitation.html", token=token, invited=await _invited(token))


@post("/invitation", opt=PAGE)
async def accept_invitation(request: AnyRequest) -> Response[Any]:
    """Start the sign-in that may create the account. Creating the account consumes the invitation."""
    invited = await _invited((await forms.form(request)).get("token", ""))
    key = await new_flow_key(request)
    binding = await flows.start(
        key,
        "/",
        login_hint=invited.email,
        registration=Registration(name=invited.name, invitation_id=invited.id, invited_email=invited.email),
    )
    return see_other(f"{flows.path(binding)}/{Step.REGISTRATION}", key_cookies(key))


ROUTES = [show_invitation, accept_invitation]
