"""Answering with a page, or by sending the browser on."""

from collections.abc import Iterable, Sequence
from functools import cache
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from litestar import MediaType, Response
from litestar.datastructures import Cookie

from idp.settings import settings
from idp.web.context import request_id
from idp.web.rendering import Pages, Theme


@cache
def pages() -> Pages:
    """The templates of this process, loaded once."""
    theme = Theme(settings().product_name, settings().logo_url, settings().theme_color)
    return Pages(theme, overrides=settings().templates_dir, dev=settings().dev)


def content_security_policy(
    form_targets: Iterable[str] = (), nonce: str | None = None, *, scripts: bool = False
) -> str:
    """The policy of one page. Nothing runs and nothing loads but our own styles and pictures.

    Args:
        form_targets: origins besides our own that a form may end at. Browsers hold the redirects after a POST to
            form-action too, so the page that starts a sign-in must allow the client's origin.
        nonce: lets the one inline script of the form_post page run.
        scripts: lets our own script files run.
    """
    directives = [
        "default-src 'none'",
        "style-src 'self'",
        "img-src 'self' https: data:",
        "font-src 'self'",
        " ".join(["form-action 'self'", *form_targets]),
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
    if nonce is not None:
        directives.append(f"script-src 'nonce-{nonce}'")
    elif scripts:
        # They may ask our own pages, as the search of the console does.
        directives += ["script-src 'self'", "connect-src 'self'"]
    return "; ".join(directives)


def origin(uri: str) -> str:
    """The part of a URI that form-action understands: an origin, or the scheme alone for a native client's URI."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("https", "http") else f"{parts.scheme}:"


def page(
    template: str,
    *,
    status: int = HTTPStatus.OK,
    cookies: Sequence[Cookie] = (),
    form_targets: Iterable[str] = (),
    nonce: str | None = None,
    scripts: bool = False,
    **context: Any,
) -> Response[str]:
    """Render a template. A page belongs to one person at one moment, so it is never stored by a cache."""
    return Response(
        pages().render(template, status=int(status), request_id=request_id.get(), nonce=nonce, **context),
        media_type=MediaType.HTML,
        status_code=status,
        cookies=list(cookies),
        headers={
            "Cache-Control": "no-store",
            "Content-Security-Policy": content_security_policy(form_targets, nonce, scripts=scripts),
        },
    )


def see_other(location: str, cookies: Sequence[Cookie] = ()) -> Response[bytes]:
    """Send the browser on with a GET, whatever it came with (RFC 9110 section 15.4.4).

    The location is one of our own paths, or a URI that was validated against the client's registration.
    """
    return Response(
        b"",
        media_type=MediaType.TEXT,
        status_code=HTTPStatus.SEE_OTHER,
        headers={"Location": location, "Cache-Control": "no-store"},
        cookies=list(cookies),
    )
