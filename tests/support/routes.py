"""The routes of the application, so that tests that hold for all of them leave none out."""

import re
from functools import cache
from typing import Any, NamedTuple

import pytest
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from idp import app
from idp.http.access import Access
from idp.settings import settings


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
def application(*, dev: bool = False) -> Litestar:
    """The application as it is served, but that it does not take over this process's logs."""
    config = settings().model_copy(update={"dev": dev})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "configure_logs", lambda _: None)
        patch.setattr(app, "settings", lambda: config)
        short_way: Any = app.create_app()
    found: Litestar = short_way.app
    return found


def routes(*, dev: bool = False) -> list[Route]:
    """Every route, but the answers to OPTIONS that Litestar adds by itself."""
    found = []
    for route in application(dev=dev).routes:
        for handler in getattr(route, "route_handlers", ()):
            assert isinstance(handler, HTTPRouteHandler)
            access = handler.opt.get("access")
            found += [Route(route.path, str(method), Access(access)) for method in handler.http_methods if access]
    return sorted(found)


def posts_of_pages(*, dev: bool = False) -> list[Route]:
    """Every route that takes what our own pages send, but for the console, which declares its screens in one way."""
    return [
        route
        for route in routes(dev=dev)
        if route.access == Access.PAGE and route.method not in ("GET", "HEAD") and not route.path.startswith("/admin")
    ]
