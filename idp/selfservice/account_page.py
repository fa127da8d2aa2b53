"""What all pages of the account have in common: who sees them, how fresh the sign-in must be, their forms."""

from http import HTTPStatus
from typing import Any, NamedTuple

from litestar import Request, Response
from litestar.datastructures import Cookie

from idp.accounts.tables import User, user_by_id
from idp.http import cookies, forms
from idp.http.pages import page, see_other
from idp.infra.i18n import gettext as _
from idp.oauth.credentials import credentials_changed
from idp.settings import settings
from idp.signin import flow as flows
from idp.signin import limits, sessions
from idp.signin.csrf import check_form_token, form_token
from idp.signin.sessions import SignedIn

AnyRequest = Request[Any, Any, Any]


#: Pages that stand under another one's tab.
SECTIONS = dict.fromkeys(("password", "email", "passkey", "totp", "recovery_codes", "ask"), "security")


class AccountRequest(NamedTuple):
    """A person at a page of their own account."""

    user: User
    session: SignedIn


async def visit(request: AnyRequest, path: str, *, fresh: bool = False) -> AccountRequest | Response[Any]:
    """Who is there; or the way to the sign-in, which comes back to ``path``. What the request then changes, it changes
    only while the session lives.

    Args:
        fresh: the sign-in must not be long ago. For all that protects the account, or gives it away.
    """
    session = await sessions.current(request)
    if session is None or (fresh and session.age() > settings().reauthentication_lifetime):
        user = await user_by_id(session.user_id) if session else None
        oldest = 0 if session else settings().reauthentication_lifetime if fresh else None
        key = await limits.count_flow(request)
        binding = await flows.start(
            key, path, cancel_to="/account" if session else None, login_hint=user.email if user else "", max_age=oldest
        )
        return see_other(flows.path(binding), key.cookies())
    sessions.guard_changes(session, fresh=fresh)
    user = await user_by_id(session.user_id)
    assert user is not None  # noqa: S101 -- a session goes when its user does
    return AccountRequest(user, session)


async def posted(
    request: AnyRequest, path: str, *, fresh: bool = False
) -> tuple[AccountRequest, dict[str, str]] | Response[Any]:
    """As :func:`visit`, for a form of the account's pages, with what was entered.

    Raises:
        PageError: no page of ours showed this form to this browser.
    """
    visitor = await visit(request, path, fresh=fresh)
    if isinstance(visitor, Response):
        return visitor
    form = await forms.form(request)
    check_form_token(form, _secret(request), "account")
    return visitor, form


async def end_others(request: AnyRequest, visitor: AccountRequest, reason: str) -> Cookie:
    """End all that was given before a credential of the visitor changed, but for this browser, which stays signed in.

    In the transaction of the change. Returns the cookie to set.
    """
    await credentials_changed(visitor.user.id, reason)
    return await sessions.restart(request, visitor.session)


def _secret(request: AnyRequest) -> str:
    return cookies.read(request, cookies.SESSION) or ""


def account_page(
    request: AnyRequest,
    template: str,
    visitor: AccountRequest,
    *,
    error: str | None = None,
    cookies: tuple[Cookie, ...] = (),
    scripts: bool = False,
    **context: Any,
) -> Response[str]:
    """A page of the account. ``done`` of the query says what was done just before."""
    return page(
        f"account/{template}.html",
        status=HTTPStatus.BAD_REQUEST if error else HTTPStatus.OK,
        cookies=cookies,
        scripts=scripts,
        csrf_token=form_token(_secret(request), "account"),
        section=SECTIONS.get(template, template),
        user=visitor.user,
        error=error,
        done=None if error else _sentence(forms.query(request).get("done")),
        **context,
    )


async def ask(
    request: AnyRequest, action: str, *, heading: str, text: str, label: str, fields: dict[str, str] | None = None
) -> Response[Any]:
    """A page that asks before something about what protects the account is taken away.

    Args:
        action: where the answer yes is posted, and the page's own path.
        text: what goes, in a sentence or two.
        label: of the button that does it.
        fields: what the form holds besides.
    """
    visitor = await visit(request, action, fresh=True)
    if isinstance(visitor, Response):
        return visitor
    return account_page(
        request, "ask", visitor, heading=heading, text=text, label=label, action=action, fields=fields or {}
    )


#: What was done that signed the person out everywhere else.
_ENDING_OTHERS = frozenset({"email", "passkey-removed", "totp-removed", "unlinked"})


def _sentence(done: str | None) -> str | None:
    elsewhere = _("You are signed out everywhere else.")
    sentences = {
        "profile": _("Your profile is saved."),
        "password": _("Your password is changed. You are signed out everywhere else."),
        "email": _("Your email address is changed."),
        "email-sent": _("A mail is on its way. Nothing changes until you confirm it."),
        "email-verified": _("Your email address is confirmed."),
        "passkey": _("Your passkey is ready."),
        "passkey-renamed": _("The passkey has a new name."),
        "passkey-removed": _("The passkey is removed. You may want to delete it from your device too."),
        "totp": _("Your authenticator app is set up."),
        "totp-removed": _("The authenticator app is removed."),
        "two-step": _("Saved."),
        "session": _("That browser is signed out."),
        "sessions": elsewhere,
        "linked": _("It is connected. You can sign in with it from now on."),
        "unlinked": _("It is disconnected."),
        "last-way": _("It is your only way to sign in. Choose a password first."),
        "app": _("The application has no access any more."),
    }
    sentence = sentences.get(done or "")
    return f"{sentence} {elsewhere}" if sentence and done in _ENDING_OTHERS else sentence
