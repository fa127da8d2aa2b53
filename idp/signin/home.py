"""The start page."""

from typing import Any

from litestar import Request, Response, get

from idp.accounts.repository.users import user_by_id
from idp.http.access import Access
from idp.http.pages import page
from idp.signin.http import current_session


@get("/", opt={"access": Access.PAGE})
async def home(request: Request[Any, Any, Any]) -> Response[Any]:
    """Show the signed-in user, or links to sign in."""
    session = await current_session(request)
    return page("home.html", user=await user_by_id(session.user_id) if session else None)


ROUTES = [home]
