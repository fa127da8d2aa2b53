"""Shared by all account pages: authentication, re-authentication, CSRF and rendering."""

from http import HTTPStatus
from typing import Any, NamedTuple

from litestar import Request, Response
from litestar.datastructures import Cookie

from idp.accounts.repository.users import user_by_id
from idp.accounts.tables import User
from idp.directory.invited import in_organizations
from idp.http import cookies, forms
from idp.http.pages import page, see_other
from idp.infra import i18n
from idp.oauth import ciba
from idp.oauth.credentials import credentials_changed
from idp.selfservice import notices
from idp.settings import settings
from idp.signin import flow as flows
from idp.signin import sessions
from idp.signin.csrf import check_form_token, form_token
from idp.signin.http import browser_of, current_session, key_cookies, new_flow_key, session_cookies
from idp.signin.sessions import SignedIn
from idp.signin.transitions import ACR_VALUES, SINGLE_FACTOR

AnyRequest = Request[Any, Any, Any]


#: Pages that belong to the tab of another page.
SECTIONS = dict.fromkeys(("password", "email", "passkey", "totp", "recovery_codes"), "security")


class AccountRequest(NamedTuple):
    """The authenticated user of an account page, and whether an organization has or invites them."""

    user: User
    session: SignedIn
    in_organizations: bool


async def require_session(request: AnyRequest, path: str, *, fresh: bool = False) -> AccountRequest | Response[Any]:
    """Return the user of the session, or redirect to a sign-in that returns to ``path``.

    The page is in the language of the user's profile, if that is available. Every later transaction of the request
    checks that the session is still live.

    Args:
        fresh: whether a recent sign-in is required, with a second factor if the user has one. For changes of
            credentials and of what gives access.
    """
    session = await current_session(request)
    acr = await sessions.level_for_credentials(session) if session is not None and fresh else SINGLE_FACTOR
    if session is None or not is_sufficient(session, fresh=fresh, acr=acr):
        return await sign_in(request, path, session, fresh=fresh, acr=acr)
    sessions.guard_changes(session, credentials=fresh)
    user = await user_by_id(session.user_id)
    assert user is not None  # noqa: S101 -- a session goes when its user does
    i18n.prefer([user.locale or ""])
    return AccountRequest(user, session, await in_organizations(user))


def is_sufficient(session: SignedIn, *, fresh: bool, acr: str = SINGLE_FACTOR) -> bool:
    """Return whether a session is recent enough and has the level."""
    return _is_recent(session, fresh=fresh) and ACR_VALUES.index(session.acr) >= ACR_VALUES.index(acr)


def _is_recent(session: SignedIn, *, fresh: bool) -> bool:
    return not fresh or session.age() <= settings().reauthentication_lifetime


async def sign_in(
    request: AnyRequest, path: str, session: SignedIn | None, *, fresh: bool, acr: str = SINGLE_FACTOR
) -> Response[Any]:
    """Redirect to a sign-in that returns to ``path``.

    Args:
        session: one that is not sufficient. If it only lacks the level, only the missing step is asked for.
        acr: the required level.
    """
    user = await user_by_id(session.user_id) if session else None
    step_up = session if session is not None and _is_recent(session, fresh=fresh) else None
    oldest = settings().reauthentication_lifetime if fresh else None
    key = await new_flow_key(request)
    binding = await flows.start(
        key,
        path,
        cancel_to="/account" if session else None,
        login_hint=user.email if user else "",
        max_age=oldest if session is None or step_up is not None else 0,
        acr=acr,
        required=acr,
        step_up=step_up,
    )
    return see_other(flows.path(binding), key_cookies(key))


async def require_form(
    request: AnyRequest, path: str, *, fresh: bool = False
) -> tuple[AccountRequest, dict[str, str]] | Response[Any]:
    """Like :func:`require_session`, and return the posted form.

    Raises:
        PageError: the CSRF token is wrong.
    """
    account = await require_session(request, path, fresh=fresh)
    if isinstance(account, Response):
        return account
    form = await forms.form(request)
    check_form_token(form, _secret(request), "account")
    return account, form


async def require_form_with_file(request: AnyRequest, path: str) -> tuple[AccountRequest, bytes] | Response[Any]:
    """Like :func:`require_form`, for a form that uploads a file. Returns its content."""
    account = await require_session(request, path)
    if isinstance(account, Response):
        return account
    form, file = await forms.form_with_file(request)
    check_form_token(form, _secret(request), "account")
    return account, file


async def end_other_sessions(request: AnyRequest, account: AccountRequest, reason: str) -> list[Cookie]:
    """Revoke everything issued before a credential changed, except this browser's session.

    Runs in the transaction of the change. Returns the cookies to set.
    """
    await credentials_changed(account.user.id, reason)
    return session_cookies(await sessions.restart(browser_of(request), account.session))


def _secret(request: AnyRequest) -> str:
    return cookies.read(request, cookies.SESSION) or ""


def account_page(
    request: AnyRequest,
    template: str,
    account: AccountRequest,
    *,
    error: str | None = None,
    cookies: tuple[Cookie, ...] = (),
    scripts: bool = False,
    section: str = "",
    **context: Any,
) -> Response[str]:
    """Render an account page. The query parameter ``done`` selects a notice.

    Args:
        section: the tab that it belongs to, if that is not clear from the template.
    """
    done, named = notices.notice(request, account.user.id)
    return page(
        f"account/{template}.html",
        status=HTTPStatus.BAD_REQUEST if error else HTTPStatus.OK,
        cookies=(*cookies, *named),
        scripts=scripts,
        csrf_token=form_token(_secret(request), "account"),
        section=section or SECTIONS.get(template, template),
        user=account.user,
        asks=ciba.is_on(),
        in_organizations=account.in_organizations,
        error=error,
        done=None if error else done,
        **context,
    )


async def confirmation_page(
    request: AnyRequest,
    action: str,
    *,
    heading: str,
    text: str,
    label: str,
    undo: str = "",
    fields: dict[str, str] | None = None,
    back: str = "/account/security",
    fresh: bool = True,
) -> Response[Any]:
    """Render a page that asks for confirmation.

    Args:
        action: the path of the page, to which the confirmation is posted.
        heading: the question, which names what it concerns.
        text: what will happen, in a sentence or two.
        label: the label of the button.
        undo: how it can be undone.
        fields: hidden fields of the form.
        back: the path of the page that a cancellation leads to.
        fresh: whether a recent sign-in is required, as for the form.
    """
    account = await require_session(request, action, fresh=fresh)
    if isinstance(account, Response):
        return account
    asked: dict[str, Any] = {"heading": heading, "text": text, "undo": undo, "label": label, "fields": fields or {}}
    return account_page(request, "ask", account, section=_section(back), action=action, back=back, **asked)


def _section(path: str) -> str:
    """Return the tab of a page."""
    return path.removeprefix("/account").removeprefix("/") or "profile"
