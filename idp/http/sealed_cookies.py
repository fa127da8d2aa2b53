"""Encrypted cookies that carry a text or bytes over one redirect, from a form to the page that shows it once.

So the form is not sent again when the page is reloaded, and no link can put it on the page.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import suppress
from typing import Any

from litestar import Request
from litestar.datastructures import Cookie

from idp import clock
from idp.http import cookies
from idp.keys import vault

#: Seconds in which the browser must follow the redirect.
LIFETIME = 60
#: The bytes before the content: when it expires, because a copied cookie does not end by itself.
_TIME_BYTES = 8


def seal(name: str, content: str | bytes, context: str) -> Cookie:
    """Return the cookie with a text or bytes.

    Args:
        context: the user and the page that may show it.
    """
    plain = content.encode() if isinstance(content, str) else content
    expires = (clock.timestamp() + LIFETIME).to_bytes(_TIME_BYTES)
    sealed = urlsafe_b64encode(vault.encrypt(expires + plain, context)).decode().rstrip("=")
    return cookies.make(name, sealed, max_age=LIFETIME, samesite="strict")


def read(request: Request[Any, Any, Any], name: str, context: str) -> str | None:
    """Return the text of the cookie; None without one, or if it has expired or is for another user or page."""
    content = read_bytes(request, name, context)
    return content.decode() if content is not None else None


def read_bytes(request: Request[Any, Any, Any], name: str, context: str) -> bytes | None:
    """As :func:`read`, for bytes."""
    value = cookies.read(request, name)
    if value is None:
        return None
    with suppress(ValueError, vault.SecretsError):
        plain = vault.decrypt(urlsafe_b64decode(value + "=" * (-len(value) % 4)), context)
        if int.from_bytes(plain[:_TIME_BYTES]) > clock.timestamp():
            return plain[_TIME_BYTES:]
    return None


def used(request: Request[Any, Any, Any], name: str) -> list[Cookie]:
    """Return what deletes the cookie, if the browser sent it."""
    return [cookies.delete(name, samesite="strict")] if cookies.read(request, name) is not None else []
