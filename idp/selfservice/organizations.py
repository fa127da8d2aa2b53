"""`/account/organizations`: the user's organizations with the roles there, leaving them, and invitations to answer."""

from typing import Any
from uuid import UUID

from litestar import Request, Response, get, post
from litestar.params import FromPath

from idp.directory import invited, organizations
from idp.directory.delegation import managed_by
from idp.directory.effective import memberships
from idp.directory.errors import (
    InvitationEndedError,
    LastAdminError,
    ManagedAccountError,
    NotInvitedError,
    UnknownOrganizationError,
)
from idp.http.access import Access
from idp.http.pages import see_other
from idp.infra.i18n import gettext as _
from idp.selfservice.account_page import AccountRequest, account_page, confirmation_page, require_form, require_session
from idp.selfservice.notices import see_done

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}
PATH = "/account/organizations"
LEAVE = f"{PATH}/{{organization_id:uuid}}/leave"


@get(PATH, opt=PAGE)
async def show_organizations(request: AnyRequest) -> Response[Any]:
    """Show the organizations of the user, and the open invitations to the verified address."""
    account = await require_session(request, PATH)
    return account if isinstance(account, Response) else await _page(request, account)


async def _page(request: AnyRequest, account: AccountRequest, error: str | None = None) -> Response[str]:
    found = await memberships(account.user.id)
    managed = {each.id for each in await managed_by(account.user.id)}
    return account_page(
        request,
        "organizations",
        account,
        error=error,
        organizations=list(found.organizations.values()),
        managed=managed,
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
        return await _page(request, account, _("This invitation no longer works."))
    return see_other(f"{PATH}?done=invitation-declined")


@get(LEAVE, opt=PAGE)
async def ask_leave_organization(request: AnyRequest, organization_id: FromPath[UUID]) -> Response[Any]:
    """Ask for confirmation before the user leaves an organization."""
    account = await require_session(request, PATH, fresh=True)
    if isinstance(account, Response):
        return account
    last = await organizations.is_last_admin(organization_id, account.user.id)
    return await _ask_leave(request, account, organization_id, last=last)


async def _ask_leave(
    request: AnyRequest, account: AccountRequest, organization_id: UUID, *, last: bool
) -> Response[Any]:
    """Ask for confirmation.

    Args:
        last: nobody would manage the organization. The form then says that the user knows.
    """
    organization = (await memberships(account.user.id)).organizations.get(organization_id)
    if organization is None:
        return await _page(request, account, _("You are not a member of this organisation."))
    text = _("You lose your roles there. To come back, you need a new invitation.")
    if last:
        text = f"{text} {_('No one else manages it: afterwards, only those who run this service can.')}"
    return await confirmation_page(
        request,
        f"{PATH}/{organization_id}/leave",
        heading=_("Leave %(organization)s?", organization=organization.name),
        text=text,
        label=_("Leave"),
        fields={"last": "on"} if last else None,
        back=PATH,
    )


@post(LEAVE, opt=PAGE)
async def leave_organization(request: AnyRequest, organization_id: FromPath[UUID]) -> Response[Any]:
    """Leave an organization. The last one who manages it must have been told so."""
    asked = await require_form(request, PATH, fresh=True)
    if isinstance(asked, Response):
        return asked
    account, form = asked
    known = (await memberships(account.user.id)).organizations.get(organization_id)
    try:
        left = await organizations.leave(organization_id, account.user.id, last_admin="last" in form)
    except LastAdminError:
        # The question says so now.
        return see_other(f"{PATH}/{organization_id}/leave")
    except ManagedAccountError:
        return await _page(
            request, account, _("Your organisation manages this account. Ask your organisation to remove you.")
        )
    except UnknownOrganizationError:
        left = False
    if not left:
        return await _page(request, account, _("You are not a member of this organisation."))
    return see_done(PATH, "organization-left", account.user.id, known.name if known else "")


ROUTES = [show_organizations, answer_invitation, ask_leave_organization, leave_organization]
