"""The routes of the application, for tests that cover all of them."""

import re
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import cache
from typing import NamedTuple
from uuid import UUID

import pytest
from litestar.handlers import BaseRouteHandler

from idp import app
from idp.http.access import Access
from idp.http.middleware import Middleware
from idp.http.router import Router
from idp.http.routes import Routes
from idp.settings import load, settings


class Route(NamedTuple):
    """A path and one of its methods."""

    path: str
    method: str
    access: Access

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def url(self, **values: str) -> str:
        """Return the path with values for its parameters."""
        by_type = {"uuid": str(UUID(int=0))}
        return re.sub(r"{(\w+):(\w+)}", lambda found: values.get(found[1], by_type.get(found[2], "x")), self.path)


@cache
def application(*, dev: bool = False) -> Router:
    """Return the application as it is served, without its configuration of logs."""
    config = settings().model_copy(update={"dev": dev})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "configure_logs", lambda _: None)
        patch.setattr(app, "settings", lambda: config)
        found = app.create_app()
    assert isinstance(found, Router)
    return found


def router(
    handlers: Iterable[BaseRouteHandler], *, is_client_origin: Callable[[str], bool] = lambda _: False
) -> Router:
    """Return an application of these handlers only, with the product's middleware."""
    return Router(Routes(handlers), Middleware(load()), is_client_origin, nullcontext)


def routes(*, dev: bool = False) -> list[Route]:
    """Return every route, except the responses to OPTIONS of the router."""
    return sorted(
        Route(route.path, method, Access(handler.opt["access"]))
        for route in application(dev=dev).routes
        for method, handler in route.handlers.items()
    )


def posts_of_pages(*, dev: bool = False) -> list[Route]:
    """Return every route that accepts forms of our own pages, except the console and the pages of an organization, each
    of which are declared in one way.
    """
    return [
        route
        for route in routes(dev=dev)
        if route.access == Access.PAGE
        and route.method not in ("GET", "HEAD")
        and not route.path.startswith(("/admin", "/organization/"))
    ]
