"""Every cookie of this server. With the ``__Host-`` prefix, browsers require Secure, no Domain, and Path=/.

Development relies on browsers accepting Secure cookies from http://localhost, which they treat as trustworthy.
"""

import re
from typing import Any, Literal

from litestar import Request
from litestar.datastructures import Cookie as _Cookie

from idp.settings import settings

SESSION = "session"
#: RFC 6265 section 4.1.1, cookie-octet.
_NAME = re.compile(r"[0-9A-Za-z_-]+")
_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]*")


def key(name: str) -> str:
    """Return the full name of a cookie. It contains the path of the issuer, so that two servers on one host do not
    share cookies.

    ``Path`` stays ``/``, as the prefix requires (docs/decisions/0031-an-issuer-may-have-a-path.md).
    """
    path = settings().path
    return f"__Host-{path[1:].replace('/', '~')}~{name}" if path else f"__Host-{name}"


class Cookie(_Cookie):
    """A cookie that encodes itself (RFC 6265 section 4.1), because Litestar's encoding copies it three times."""

    def to_encoded_header(self) -> tuple[bytes, bytes]:
        """Return the encoded header. The value is not quoted."""
        age = "" if self.max_age is None else f" Max-Age={self.max_age};"
        hidden = " HttpOnly;" if self.httponly else ""
        text = f"{self.key}={self.value};{hidden}{age} Path=/; SameSite={self.samesite}; Secure"
        return b"set-cookie", text.encode("ascii")


def make(name: str, value: str, *, max_age: int | None, samesite: Literal["lax", "strict"] = "lax") -> Cookie:
    """Return a cookie that scripts cannot read. ``max_age`` is in seconds; None: until the browser closes."""
    if not _VALUE.fullmatch(value):
        raise ValueError(f"The value of the cookie {name} would need quotes.")
    return Cookie(key=key(name), value=value, path="/", secure=True, httponly=True, samesite=samesite, max_age=max_age)


def make_readable(name: str, value: str, *, max_age: int) -> Cookie:
    """Return a cookie that our own scripts can read, also in a frame on a page of another site. It holds no secret."""
    hidden = make(name, value, max_age=max_age)
    return Cookie(key=hidden.key, value=value, path="/", secure=True, httponly=False, samesite="none", max_age=max_age)


def delete(name: str, *, samesite: Literal["lax", "strict"] = "lax") -> Cookie:
    """Return a cookie that deletes the one with this name."""
    return make(name, "", max_age=0, samesite=samesite)


def read_all(request: Request[Any, Any, Any], prefix: str) -> dict[str, str]:
    """Return the values of the cookies whose names begin with this prefix, by the rest of the name."""
    full = key(prefix)
    sent = {name.removeprefix(full): value for name, value in request.cookies.items() if name.startswith(full)}
    return {name: value for name, value in sent.items() if _NAME.fullmatch(name)}


def read(request: Request[Any, Any, Any], name: str) -> str | None:
    """Return the value that the browser sent, or None."""
    return request.cookies.get(key(name)) or None
