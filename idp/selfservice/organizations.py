"""`/account/organizations`: the user's organizations with the roles there, and invitations to answer."""

from typing import Any
from uuid import UUID

from litestar import Request, Response, get, post
from litestar.params import FromPath

from idp.directory import invited
from idp.directory.effective import memberships
from idp.directory.errors import InvitationEndedError, NotInvitedError
from idp.http.access import Access
from idp.http.pages import see_other
from idp.infra.i18n import gettext as _
from idp.selfservice.account_page import AccountRequest, account_page, require_form, require_session

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}
PATH = "/account/organizations"


@get(PATH, opt=PAGE)
async def show_organizations(request: AnyRequest) -> Response[Any]:
    """Show the organizations of the user, and the open invitations to the verified address."""
    account = await require_session(request, PATH)
    return account if isinstance(account, Response) else await _page(request, account)


async def _page(request: AnyRequest, account: AccountRequest, error: str | None = None) -> Response[str]:
    found = await memberships(account.user.id)
    return account_page(
        request,
        "organizations",
        account,
        error=error,
        organizations=list(found.organizations.values()),
        invitations=await invited.of_user(account.user),
    )


@post(f"{PATH}/invitations/{{invitation_id:uuid}}", opt=PAGE)
async def answer_invitation(request: AnyRequest, invitation_id: FromPath[UUID]) -> Response[Any]:
    """Accept or decline an invitation to the verified address of the user."""
    asked = await require_form(request, PATH)
    if isinstance(asked, Response):
        return asked
    account, form = asked
    try:
        if form.get("action") == "accept":
            await invited.accept(invitation_id, account.user.id)
            return see_other(f"{PATH}?done=organization-joined")
        await invited.decline(invitation_id, account.user.id)
    except (InvitationEndedError, NotInvitedError):
        return await _page(request, account, _("This invitation cannot be used any more."))
    return see_other(f"{PATH}?done=invitation-declined")


ROUTES = [show_organizations, answer_invitation]
