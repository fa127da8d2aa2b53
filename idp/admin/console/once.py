"""A new secret that a page shows once, after the redirect that follows the form.

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


def show_once(request: AdminRequest, path: str, secret: str) -> Response[bytes]:
    """Redirect to the page of a record, which shows its new secret.

    Args:
        path: the path after ``/admin``.
    """
    sealed = vault.encrypt(secret.encode(), _context(request, f"{HOME}{path}"))
    value = urlsafe_b64encode(sealed).decode().rstrip("=")
    return see_other(f"{HOME}{path}", [cookies.make(SECRET_COOKIE, value, max_age=LIFETIME, samesite="strict")])


def secret_of(request: AdminRequest) -> str | None:
    """Return the secret that this page shows; None without one. The response deletes the cookie."""
    value = cookies.read(request.http, SECRET_COOKIE)
    if value is None:
        return None
    with suppress(ValueError, vault.SecretsError):
        sealed = urlsafe_b64decode(value + "=" * (-len(value) % 4))
        return vault.decrypt(sealed, _context(request, str(request.http.scope["path"]))).decode()
    return None


def _context(request: AdminRequest, path: str) -> str:
    return f"console.secret:{request.user.id}:{path}"
