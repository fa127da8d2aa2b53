"""The start page: who is signed in here."""

from typing import Any

from litestar import Request, Response, get

from idp.accounts.tables import user_by_id
from idp.http.access import Access
from idp.http.pages import page
from idp.signin import sessions


@get("/", opt={"access": Access.PAGE})
async def home(request: Request[Any, Any, Any]) -> Response[Any]:
    """Show it, with the way in or out."""
    session = await sessions.current(request)
    return page("home.html", user=await user_by_id(session.user_id) if session else None)


ROUTES = [home]
