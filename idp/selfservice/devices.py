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
from idp.oauth import sign_out
from idp.oauth.logout import reach
from idp.oauth.sign_out import sign_out_user
from idp.selfservice.account_page import account_page, require_form, require_session
from idp.settings import settings
from idp.signin import sessions
from idp.signin.http import browser_of, session_cookies
from idp.signin.repository.sessions import active_sessions

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}
PATH = "/account/sessions"


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


@post(f"{PATH}/{{session_id:uuid}}/end", opt=PAGE)
async def end_session(request: AnyRequest, session_id: FromPath[UUID]) -> Response[Any]:
    """End one session and revoke the tokens issued in it."""
    asked = await require_form(request, PATH)
    if isinstance(asked, Response):
        return asked
    account, _ = asked
    await sign_out.end_session(account.user.id, session_id, "signed_out_by_user")
    return see_other(f"{PATH}?done=session")


@post(f"{PATH}/end", opt=PAGE)
async def end_others(request: AnyRequest) -> Response[Any]:
    """End all other sessions and revoke the tokens of all applications."""
    asked = await require_form(request, PATH)
    if isinstance(asked, Response):
        return asked
    account, _ = asked
    async with transaction():
        await sign_out_user(account.user.id, "signed_out_by_user")
        await record("signed_out_everywhere", user_id=account.user.id)
        cookies = session_cookies(await sessions.restart(browser_of(request), account.session))
    return see_other(f"{PATH}?done=sessions", cookies)


ROUTES = [show_sessions, end_session, end_others]
