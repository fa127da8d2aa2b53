"""`/account/email`: changing the email address."""

from functools import partial
from typing import Any

from litestar import Request, Response, get, post

from idp.accounts import email_change, email_proofs
from idp.accounts.addresses import InvalidEmailError, normalise_email
from idp.accounts.email_proofs import Purpose
from idp.accounts.repository.users import emails_by_id
from idp.errors import TooManyRequestsError
from idp.federation.linking import release_email
from idp.http import forms
from idp.http.access import Access
from idp.http.exception_handlers import slowed_down, wait_sentence
from idp.http.pages import see_other
from idp.infra.db.engine import transaction
from idp.infra.i18n import gettext as _
from idp.oauth.credentials import credentials_changed
from idp.selfservice.account_page import AccountRequest, account_page, require_form, require_session
from idp.signin import enforcement, limits, other_browser, sessions
from idp.signin.factors.repository import delete_factors
from idp.signin.http import browser_of, current_session, session_cookies
from idp.signin.mail_needed import require_mail

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}
PATH = "/account/email"


async def _page(
    request: AnyRequest,
    account: AccountRequest,
    *,
    entered: str = "",
    token: str | None = None,
    error: str | None = None,
) -> Response[str]:
    sent_to = await email_proofs.pending_email(Purpose.EMAIL_CHANGE, str(account.session.id))
    return account_page(
        request, "email", account, error=error, entered=entered, token=token, sent_to=sent_to, action=PATH
    )


@get(PATH, opt=PAGE)
async def show_email(request: AnyRequest) -> Response[Any]:
    """Show the form for the new address, then for its code; for the mail's link, a page with a button."""
    token = forms.query(request).get("token")
    if token is not None and (shown := await _show_elsewhere(request, token)) is not None:
        return shown
    require_mail()
    account = await require_session(request, PATH, fresh=True)
    if isinstance(account, Response):
        return account
    return await _page(request, account, token=token)


async def _show_elsewhere(request: AnyRequest, token: str) -> Response[str] | None:
    """Return the page with the code of a valid link, if another session asked for the mail."""
    proved, session = await email_proofs.verify_token(token, Purpose.EMAIL_CHANGE), await current_session(request)
    if proved is None or proved.flow_id is None or (session is not None and str(session.id) == proved.flow_id):
        return None
    return await other_browser.show_code(token, Purpose.EMAIL_CHANGE, proved.flow_id)


@post(PATH, opt=PAGE)
async def change_email(request: AnyRequest) -> Response[Any]:
    """Send the mail to the new address, or verify its code or link."""
    asked = await require_form(request, PATH, fresh=True)
    if isinstance(asked, Response):
        return asked
    account, form = asked
    if form.get("action") == "send":
        return await _send(request, account, form.get("email", ""))
    cookies = []
    try:
        async with transaction():
            what = await email_change.confirm(
                account.user,
                account.session.id,
                credentials_changed,
                partial(release_email, delete_factors=delete_factors),
                code=form.get("code", ""),
                token=form.get("token", ""),
            )
            if what == "email_changed":
                # The domain may have been enforced since the mail was sent.
                changed = await emails_by_id([account.user.id])
                await enforcement.check_change(account.user, changed[account.user.id])
                cookies += session_cookies(await sessions.restart(browser_of(request), account.session))
    except enforcement.EnforcedDomainError as error:
        return await _page(request, account, error=str(error))
    if what is None:
        return await _page(
            request, account, error=_("That code is wrong or has expired. Check it, or ask for a new one.")
        )
    return see_other(f"/account/security?done={'email' if cookies else 'email-verified'}", cookies)


async def _send(request: AnyRequest, account: AccountRequest, entered: str) -> Response[Any]:
    require_mail()
    try:
        email = normalise_email(entered)
    except InvalidEmailError:
        return await _page(
            request, account, entered=entered, error=_("Enter your email address, such as name@example.com.")
        )
    try:
        await limits.count_mail(email, browser_of(request))
        await enforcement.check_change(account.user, email)
    except enforcement.EnforcedDomainError as error:
        return await _page(request, account, entered=entered, error=str(error))
    except TooManyRequestsError as error:
        return slowed_down(await _page(request, account, entered=entered, error=wait_sentence(error)), error)
    await email_change.send_confirmation(account.user, email, account.session.id)
    return see_other(f"{PATH}?done=email-sent")


ROUTES = [show_email, change_email]
