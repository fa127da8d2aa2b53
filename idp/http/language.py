"""`/language`: the language that a user chooses for the pages in this browser."""

import re
from functools import cache
from typing import Any

from litestar import Request, Response, get
from litestar.types import HTTPScope

from idp.http import cookies, forms
from idp.http.access import Access
from idp.http.headers import request_header
from idp.http.pages import see_other
from idp.infra.i18n import LOCALES
from idp.settings import settings

PATH = "/language"
COOKIE = "language"
#: Seconds for which a choice is kept.
LIFETIME = 365 * 86400


@get(PATH, opt={"access": Access.PAGE})
async def choose_language(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Keep the choice in a cookie, and go back to the page with the link. An unknown language is ignored."""
    chosen = forms.query(request).get("to", "")
    kept = [cookies.make(COOKIE, chosen, max_age=LIFETIME)] if chosen in LOCALES else []
    return see_other(_back(request_header(request.scope, b"referer") or ""), kept)


def _back(referer: str) -> str:
    """Return the page of this server from which the browser came, else the start page.

    The header instead of a parameter: pages do not repeat their own URL, which may hold the token of a mail.
    """
    path = referer.removeprefix(settings().issuer) if referer.startswith(f"{settings().issuer}/") else "/"
    return "/" if path.startswith(PATH) else path


def chosen_language(scope: HTTPScope) -> str | None:
    """Return the language that the user chose in this browser, or None."""
    sent = request_header(scope, b"cookie")
    if sent is None or COOKIE not in sent:
        return None
    found = _pattern().search(sent)
    return found[1] if found is not None and found[1] in LOCALES else None


@cache
def _pattern() -> re.Pattern[str]:
    return re.compile(rf"(?:^|; ?){re.escape(cookies.key(COOKIE))}=([A-Za-z-]{{2,12}})(?:;|$)")


ROUTES = [choose_language]
