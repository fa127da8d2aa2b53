"""A new secret, or the response to a request, that a page shows once, after the redirect that follows the form."""

from litestar import Response

from idp.admin.console.screen import HOME, SECRET_COOKIE, AdminRequest
from idp.http import sealed_cookies
from idp.http.pages import see_other

#: Maximum size of the content in bytes, so that a browser accepts the cookie.
MAX_CONTENT = 2700


def show_once(request: AdminRequest, path: str, secret: str) -> Response[bytes]:
    """Redirect to the page of a record, which shows its new secret.

    Args:
        path: the path after ``/admin``.
    """
    return keep_once(request, path, secret.encode())


def keep_once(request: AdminRequest, path: str, content: bytes, query: str = "") -> Response[bytes]:
    """Redirect to a page, which gets the content by :func:`kept_once`."""
    sealed = sealed_cookies.seal(SECRET_COOKIE, content, _context(request, f"{HOME}{path}"))
    return see_other(f"{HOME}{path}{'?' if query else ''}{query}", [sealed])


def secret_of(request: AdminRequest) -> str | None:
    """Return the secret that this page shows; None without one. The response deletes the cookie."""
    content = kept_once(request)
    return content.decode() if content is not None else None


def kept_once(request: AdminRequest) -> bytes | None:
    """Return the content that was kept for this page; None without any. The response deletes the cookie."""
    return sealed_cookies.read_bytes(request.http, SECRET_COOKIE, _context(request, str(request.http.scope["path"])))


def _context(request: AdminRequest, path: str) -> str:
    return f"console.secret:{request.user.id}:{path}"
