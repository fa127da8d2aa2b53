"""The server below the path of its issuer (docs/decisions/0031-an-issuer-may-have-a-path.md)."""

from collections.abc import Awaitable

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

#: What RFC 8414 section 3.1 inserts between the host and the path of an issuer.
WELL_KNOWN = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")
#: The process's own, asked for by whatever watches it and not by way of the issuer.
HEALTH = "/health/"
#: No route is here, so that what is asked for outside the path is answered like any other unknown page.
OUTSIDE = "/.outside"


class Mount:
    """Takes the issuer's path off the requests below it. All else is unknown."""

    def __init__(self, app: ASGIApp, path: str) -> None:
        """
        Args:
            path: such as ``/auth``.
        """
        self.app, self.path, self.below = app, path, f"{path}/"
        self.inserted = {f"{name}{path}": name for name in WELL_KNOWN}

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == ScopeType.HTTP:
            scope["path"] = self._inside(scope["path"])
        return self.app(scope, receive, send)

    def _inside(self, path: str) -> str:
        if path.startswith(self.below):
            return path[len(self.path) :]
        if path == self.path:
            return "/"
        return path if path.startswith(HEALTH) else self.inserted.get(path, OUTSIDE)
