"""Serving below the path of the issuer (docs/decisions/0031-an-issuer-may-have-a-path.md)."""

from collections.abc import Awaitable

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

#: Inserted between the host and the path of an issuer (RFC 8414 section 3.1, Shared Signals section 7.2).
WELL_KNOWN = (
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
    "/.well-known/ssf-configuration",
)
#: Served outside the path of the issuer too, for probes of the process itself.
HEALTH = "/health/"
#: No route has this path, so that requests outside the issuer's path get the page for unknown paths.
OUTSIDE = "/.outside"


class Mount:
    """Removes the issuer's path from the paths of requests. Every other path is unknown."""

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
