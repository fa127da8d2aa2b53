"""`/account/sessions`: the user's sessions, and signing out of them."""

from typing import Any
from uuid import UUID

from litestar import Request, Response, get, post
from litestar.params import FromPath

from idp.audit.events import record
from idp.http.access import Access
from idp.http.pages import see_other
from idp.infra.db.engine import fetch, transaction
from idp.infra.geoip import device, place
from idp.oauth import sign_out
from idp.oauth.sign_out import sign_out_user
from idp.selfservice.account_page import account_page, require_form, require_session
from idp.settings import settings
from idp.signin import sessions
from idp.signin.http import browser_of, session_cookie

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}
PATH = "/account/sessions"

_LIST = """
    SELECT id, user_agent, ip_address, auth_time, last_seen_at FROM session
    WHERE user_id = $1 AND ended_at IS NULL AND expires_at > now()
      AND last_seen_at > now() - make_interval(secs => $2)
    ORDER BY last_seen_at DESC LIMIT 100
"""


@get(PATH, opt=PAGE)
async def show_sessions(request: AnyRequest) -> Response[Any]:
    """Show every session and mark the current one."""
    account = await require_session(request, PATH)
    if isinstance(account, Response):
        return account
    rows = await fetch(_LIST, account.user.id, settings().session_idle_lifetime)
    found = [
        {
            "id": row["id"],
            "device": device(row["user_agent"]),
            "place": place(row["ip_address"]),
            "last_seen_at": row["last_seen_at"],
            "auth_time": row["auth_time"],
            "this_one": row["id"] == account.session.id,
        }
        for row in rows
    ]
    return account_page(request, "sessions", account, sessions=found)


@post(f"{PATH}/{{session_id:uuid}}/end", opt=PAGE)
async def end_session(request: AnyRequest, session_id: FromPath[UUID]) -> Response[Any]:
    """End one session and revoke the tokens issued in it."""
    asked = await require_form(request, PATH)
    if isinstance(asked, Response):
        return asked
    account, _ = asked
    await sign_out.end_session(session_id, account.user.id, "signed_out_by_user")
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
        cookie = session_cookie(await sessions.restart(browser_of(request), account.session))
    return see_other(f"{PATH}?done=sessions", [cookie])


ROUTES = [show_sessions, end_session, end_others]
