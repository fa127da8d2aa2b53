"""`/account/email`: changing one's address."""

from typing import Any

from litestar import Request, Response, get, post

from idp.accounts import email_change, proofs
from idp.accounts.addresses import InvalidEmail, normalise_email
from idp.accounts.proofs import Purpose
from idp.db.engine import transaction
from idp.errors import TooManyTries
from idp.oauth.credentials import credentials_changed
from idp.selfservice.frame import Visit, account_page, posted, visit
from idp.signin import limits, sessions
from idp.web import forms
from idp.web.access import Access
from idp.web.failures import slowed_down, wait_sentence
from idp.web.i18n import gettext as _
from idp.web.pages import see_other

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}
PATH = "/account/email"


async def _page(
    request: AnyRequest, visitor: Visit, *, entered: str = "", token: str | None = None, error: str | None = None
) -> Response[str]:
    sent_to = await proofs.waiting(Purpose.EMAIL_CHANGE, str(visitor.session.id))
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
            cookies.append(await sessions.begin_again(request, visitor.session))
    if what is None:
        return await _page(
            request, visitor, error=_("That code is not right, or it is too old. Check it, or ask for a new one.")
        )
    return see_other(f"/account/security?done={'email' if cookies else 'email-verified'}", cookies)


async def _send(request: AnyRequest, visitor: Visit, entered: str) -> Response[Any]:
    try:
        email = normalise_email(entered)
    except InvalidEmail:
        return await _page(
            request, visitor, entered=entered, error=_("Enter your email address, such as name@example.com.")
        )
    try:
        await limits.mail_to(email, request)
    except TooManyTries as error:
        return slowed_down(await _page(request, visitor, entered=entered, error=wait_sentence(error)), error)
    await email_change.mail_confirmation(visitor.user, email, visitor.session.id)
    return see_other(f"{PATH}?done=email-sent")


ROUTES = [show_email, change_email]
