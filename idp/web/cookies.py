"""Every cookie that we set: named with the ``__Host-`` prefix, so Secure, without Domain, for the whole host only.

Browsers treat http://localhost as trustworthy and keep Secure cookies from it, which is what development relies on.
"""

from typing import Any, Literal

from litestar import Request
from litestar.datastructures import Cookie

SESSION = "session"


def make(name: str, value: str, *, max_age: int | None, samesite: Literal["lax", "strict"] = "lax") -> Cookie:
    """A cookie that scripts cannot read. ``max_age`` in seconds; None: until the browser closes."""
    return Cookie(
        key=f"__Host-{name}", value=value, path="/", secure=True, httponly=True, samesite=samesite, max_age=max_age
    )


def delete(name: str, *, samesite: Literal["lax", "strict"] = "lax") -> Cookie:
    """A cookie that removes the one of this name."""
    return make(name, "", max_age=0, samesite=samesite)


def read(request: Request[Any, Any, Any], name: str) -> str | None:
    """The value that the browser sent, if any."""
    return request.cookies.get(f"__Host-{name}") or None
