"""`/account/sessions`: the user's sessions, and signing out of them."""

from typing import Any
from uuid import UUID

from litestar import Request, Response, get, post
from litestar.params import FromPath

from idp.audit.events import record
from idp.http.access import Access
from idp.http.pages import see_other
from idp.infra.db.engine import transaction
from idp.infra.geoip import device, place
from idp.infra.i18n import gettext as _
from idp.oauth import sign_out
from idp.oauth.logout import reach
from idp.oauth.sign_out import sign_out_user
from idp.selfservice.account_page import AccountRequest, account_page, confirmation_page, require_form, require_session
from idp.selfservice.notices import see_done
from idp.settings import settings
from idp.signin import sessions
from idp.signin.http import browser_of, session_cookies
from idp.signin.repository.sessions import ActiveSession, active_sessions

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}
PATH = "/account/sessions"
END = f"{PATH}/{{session_id:uuid}}/end"


@get(PATH, opt=PAGE)
async def show_sessions(request: AnyRequest) -> Response[Any]:
    """Show every session and mark the current one; and how far the end of others has reached."""
    account = await require_session(request, PATH)
    if isinstance(account, Response):
        return account
    found = [
        {
            "id": session.id,
            "device": device(session.user_agent),
            "place": place(session.ip_address),
            "last_seen_at": session.last_seen_at,
            "auth_time": session.auth_time,
            "this_one": session.id == account.session.id,
        }
        for session in await active_sessions(account.user.id, settings().session_idle_lifetime)
    ]
    ended = [
        {
            "device": device(each.user_agent),
            "ended_at": each.ended_at,
            "reached": each.reached,
            "applications": each.applications,
        }
        for each in await reach.of_user(account.user.id)
        if each.applications
    ]
    return account_page(request, "sessions", account, sessions=found, ended=ended)


@get(END, opt=PAGE)
async def ask_to_end_session(request: AnyRequest, session_id: FromPath[UUID]) -> Response[Any]:
    """Ask for confirmation before a session is ended."""
    account = await require_session(request, PATH)
    if isinstance(account, Response):
        return account
    session = await _other(account, session_id)
    if session is None:
        return see_other(PATH)
    return await confirmation_page(
        request,
        f"{PATH}/{session_id}/end",
        heading=_("Sign out %(device)s?", device=device(session.user_agent)),
        text=_("It is signed out of your account, and of the applications that it signed in to."),
        undo=_("To use it again, sign in there again."),
        label=_("Sign out"),
        back=PATH,
        fresh=False,
    )


async def _other(account: AccountRequest, session_id: UUID) -> ActiveSession | None:
    """Return a live session of the user that is not the current one."""
    live = await active_sessions(account.user.id, settings().session_idle_lifetime)
    return next((one for one in live if one.id == session_id != account.session.id), None)


@post(END, opt=PAGE)
async def end_session(request: AnyRequest, session_id: FromPath[UUID]) -> Response[Any]:
    """End one session and revoke the tokens issued in it."""
    asked = await require_form(request, PATH)
    if isinstance(asked, Response):
        return asked
    account, _form = asked
    session = await _other(account, session_id)
    if session is None:
        return see_other(PATH)
    await sign_out.end_session(account.user.id, session_id, "signed_out_by_user")
    return see_done(PATH, "session", account.user.id, device(session.user_agent))


@get(f"{PATH}/end", opt=PAGE)
async def ask_to_end_others(request: AnyRequest) -> Response[Any]:
    """Ask for confirmation before all other sessions are ended."""
    return await confirmation_page(
        request,
        f"{PATH}/end",
        heading=_("Sign out everywhere else?"),
        text=_(
            "Every other browser is signed out, and every application loses its access. This browser stays signed in."
        ),
        undo=_("To use them again, sign in there again."),
        label=_("Sign out everywhere else"),
        back=PATH,
        fresh=False,
    )


@post(f"{PATH}/end", opt=PAGE)
async def end_others(request: AnyRequest) -> Response[Any]:
    """End all other sessions and revoke the tokens of all applications."""
    asked = await require_form(request, PATH)
    if isinstance(asked, Response):
        return asked
    account, _form = asked
    async with transaction():
        await sign_out_user(account.user.id, "signed_out_by_user")
        await record("signed_out_everywhere", user_id=account.user.id)
        cookies = session_cookies(await sessions.restart(browser_of(request), account.session))
    return see_other(f"{PATH}?done=sessions", cookies)


ROUTES = [show_sessions, ask_to_end_session, end_session, ask_to_end_others, end_others]
