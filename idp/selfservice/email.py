"""`/account/email`: changing one's address."""

from typing import Any

from litestar import Request, Response, get, post

from idp.accounts import email_change, email_proofs
from idp.accounts.addresses import InvalidEmailError, normalise_email
from idp.accounts.email_proofs import Purpose
from idp.errors import TooManyRequestsError
from idp.http import forms
from idp.http.access import Access
from idp.http.exception_handlers import slowed_down, wait_sentence
from idp.http.pages import see_other
from idp.infra.db.engine import transaction
from idp.infra.i18n import gettext as _
from idp.oauth.credentials import credentials_changed
from idp.selfservice.account_page import AccountRequest, account_page, posted, visit
from idp.signin import limits, sessions

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}
PATH = "/account/email"


async def _page(
    request: AnyRequest,
    visitor: AccountRequest,
    *,
    entered: str = "",
    token: str | None = None,
    error: str | None = None,
) -> Response[str]:
    sent_to = await email_proofs.waiting(Purpose.EMAIL_CHANGE, str(visitor.session.id))
    return account_page(
        request, "email", visitor, error=error, entered=entered, token=token, sent_to=sent_to, action=PATH
    )


@get(PATH, opt=PAGE)
async def show_email(request: AnyRequest) -> Response[Any]:
    """The form for the new address, then for its code; where the mail's link leads, a page with a button."""
    visitor = await visit(request, PATH, fresh=True)
    if isinstance(visitor, Response):
        return visitor
    return await _page(request, visitor, token=forms.query(request).get("token"))


@post(PATH, opt=PAGE)
async def change_email(request: AnyRequest) -> Response[Any]:
    """Send the mail to the new address, or take its code or link."""
    asked = await posted(request, PATH, fresh=True)
    if isinstance(asked, Response):
        return asked
    visitor, form = asked
    if form.get("action") == "send":
        return await _send(request, visitor, form.get("email", ""))
    cookies = []
    async with transaction():
        what = await email_change.confirm(
            visitor.user,
            visitor.session.id,
            credentials_changed,
            code=form.get("code", ""),
            token=form.get("token", ""),
        )
        if what == "email_changed":
            cookies.append(await sessions.restart(request, visitor.session))
    if what is None:
        return await _page(
            request, visitor, error=_("That code is not right, or it is too old. Check it, or ask for a new one.")
        )
    return see_other(f"/account/security?done={'email' if cookies else 'email-verified'}", cookies)


async def _send(request: AnyRequest, visitor: AccountRequest, entered: str) -> Response[Any]:
    try:
        email = normalise_email(entered)
    except InvalidEmailError:
        return await _page(
            request, visitor, entered=entered, error=_("Enter your email address, such as name@example.com.")
        )
    try:
        await limits.count_mail(email, request)
    except TooManyRequestsError as error:
        return slowed_down(await _page(request, visitor, entered=entered, error=wait_sentence(error)), error)
    await email_change.mail_confirmation(visitor.user, email, visitor.session.id)
    return see_other(f"{PATH}?done=email-sent")


ROUTES = [show_email, change_email]
