"""A new secret, or the response to a request, that a page shows once, after the redirect that follows the form.

It is in an encrypted cookie meanwhile, so that the form is not sent again when the page is reloaded.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import suppress

from litestar import Response

from idp.admin.console.screen import HOME, SECRET_COOKIE, AdminRequest
from idp.http import cookies
from idp.http.pages import see_other
from idp.keys import vault

#: Seconds in which the browser must follow the redirect.
LIFETIME = 60
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
    sealed = vault.encrypt(content, _context(request, f"{HOME}{path}"))
    value = urlsafe_b64encode(sealed).decode().rstrip("=")
    cookie = cookies.make(SECRET_COOKIE, value, max_age=LIFETIME, samesite="strict")
    return see_other(f"{HOME}{path}{'?' if query else ''}{query}", [cookie])


def secret_of(request: AdminRequest) -> str | None:
    """Return the secret that this page shows; None without one. The response deletes the cookie."""
    content = kept_once(request)
    return content.decode() if content is not None else None


def kept_once(request: AdminRequest) -> bytes | None:
    """Return the content that was kept for this page; None without any. The response deletes the cookie."""
    value = cookies.read(request.http, SECRET_COOKIE)
    if value is None:
        return None
    with suppress(ValueError, vault.SecretsError):
        sealed = urlsafe_b64decode(value + "=" * (-len(value) % 4))
        return vault.decrypt(sealed, _context(request, str(request.http.scope["path"])))
    return None


def _context(request: AdminRequest, path: str) -> str:
    return f"console.secret:{request.user.id}:{path}"
