"""Who may call a route. A route that does not say so does not start."""

from enum import StrEnum
from http import HTTPMethod
from typing import Any

from litestar import Litestar
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler

from idp.errors import PageError
from idp.http.headers import request_header
from idp.infra.db.readiness import readiness
from idp.infra.i18n import gettext as _
from idp.settings import settings


class Access(StrEnum):
    """What a route declares as ``opt={"access": …}``."""

    #: Anyone, from anywhere; nothing of the caller's is changed or shown without further proof.
    PUBLIC = "public"
    #: A person's browser, which any site may send here with a GET or a POST.
    ENTRY = "entry"
    #: A person's browser on our own pages. What it posts must come from our own pages.
    PAGE = "page"
    #: A client that the endpoint itself authenticates.
    CLIENT = "client"
    #: The bearer of an access token, which the endpoint itself checks.
    BEARER = "bearer"


def require_declaration(app: Litestar) -> None:
    """Refuse to start with a route that declares no access.

    Raises:
        RuntimeError: naming the route.
    """
    for route in app.routes:
        handlers = route.route_handlers if hasattr(route, "route_handlers") else [route.route_handler]
        for handler in handlers:
            automatic_options = isinstance(handler, HTTPRouteHandler) and handler.http_methods == {HTTPMethod.OPTIONS}
            if not automatic_options and handler.opt.get("access") not in set(Access):
                raise RuntimeError(f"The route {route.path} does not declare who may call it.")


async def same_origin_guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Refuse a form that some other site's page sends to one of our pages (CSRF, login CSRF).

    Every browser in use names the origin of a POST; a request that names none is refused too.
    """
    if handler.opt.get("access") != Access.PAGE or connection.scope.get("method") in ("GET", "HEAD"):
        return
    if request_header(connection.scope, b"origin") != settings().origin:
        raise PageError(
            _("This form came from another site"),
            _("For your safety it was not accepted. Go back to the page that you came from and try again."),
        )


async def database_guard(_: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Refuse what needs the database while this process has none."""
    readiness.require(handler.opt)
