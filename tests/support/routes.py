"""The routes of the application, so that tests that hold for all of them leave none out."""

import re
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import cache
from typing import NamedTuple

import pytest
from litestar.handlers import BaseRouteHandler

from idp import app
from idp.http.access import Access
from idp.http.middleware import Middleware
from idp.http.router import Router
from idp.http.routes import Routes
from idp.settings import load, settings


class Route(NamedTuple):
    """One path and one method of it."""

    path: str
    method: str
    access: Access

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def url(self, **values: str) -> str:
        """The path with values in place of its parameters."""
        return re.sub(r"{(\w+):\w+}", lambda found: values.get(found[1], "x"), self.path)


@cache
def application(*, dev: bool = False) -> Router:
    """The application as it is served, but that it does not take over this process's logs."""
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
    """An application of these handlers alone, with all that the product puts around its own."""
    return Router(Routes(handlers), Middleware(load()), is_client_origin, nullcontext)


def routes(*, dev: bool = False) -> list[Route]:
    """Every route, but the answers to OPTIONS that the router gives by itself."""
    return sorted(
        Route(route.path, method, Access(handler.opt["access"]))
        for route in application(dev=dev).routes
        for method, handler in route.handlers.items()
    )


def posts_of_pages(*, dev: bool = False) -> list[Route]:
    """Every route that takes what our own pages send, but for the console, which declares its screens in one way."""
    return [
        route
        for route in routes(dev=dev)
        if route.access == Access.PAGE and route.method not in ("GET", "HEAD") and not route.path.startswith("/admin")
    ]
