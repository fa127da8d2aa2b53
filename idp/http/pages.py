"""Responses for browsers: pages and redirects."""

from collections.abc import Collection, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from litestar import MediaType, Response
from litestar.datastructures import Cookie

from idp.branding.registry import brands, current
from idp.infra.request_context import request_id
from idp.infra.templates import templates
from idp.settings import settings

#: Characters that are not quoted in a URI (RFC 3986 section 2), and the percent sign of those quoted already.
URI = "%:/?#[]@!$&'()*+,;=-._~"


def content_security_policy(nonce: str | None = None, *, scripts: bool = False, framed: Collection[str] = ()) -> str:
    """Return the content security policy of a page. By default it allows only our own styles and images, and no
    scripts.

    Forms may be sent to our own origin only. The form_post page is the exception: browsers apply ``form-action`` to
    every redirect that follows a POST, and the redirects of the client's server are unknown here.

    Args:
        nonce: allows the inline script of the form_post page, and its form to be sent to the client.
        scripts: allows our own script files.
        framed: origins whose pages may be shown in frames.
    """
    directives = [
        "default-src 'none'",
        "style-src 'self'",
        "img-src 'self' https: data:",
        "font-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
    if nonce is not None:
        directives.append(f"script-src 'nonce-{nonce}'")
    else:
        directives.append("form-action 'self'")
    if scripts:
        # Scripts may call our own pages, as the search of the console does.
        directives += ["script-src 'self'", "connect-src 'self'"]
    if framed:
        directives.append(f"frame-src {' '.join(sorted(framed))}")
    return "; ".join(directives)


def for_our_frame(response: Response[str]) -> Response[str]:
    """Let our own pages show a page in a frame, where its forms cannot be sent."""
    policy = response.headers["Content-Security-Policy"]
    policy = policy.replace("frame-ancestors 'none'", "frame-ancestors 'self'")
    response.headers["Content-Security-Policy"] = policy.replace("form-action 'self'", "form-action 'none'")
    response.headers["X-Frame-Options"] = "SAMEORIGIN"
    return response


def page(
    template: str,
    *,
    status: int = HTTPStatus.OK,
    cookies: Sequence[Cookie] = (),
    nonce: str | None = None,
    scripts: bool = False,
    framed: Collection[str] = (),
    **context: Any,
) -> Response[str]:
    """Render a template into a response. Pages are personal, so caches must not store them.

    Args:
        context: the values of the template. ``client`` is the application that the page is of; its ``brand`` is shown.
    """
    brand = getattr(context.get("client"), "brand", None) or current.get() or brands.brand()
    values = {"brand": brand, "nonce": nonce} | context
    return Response(
        templates().render(template, status=int(status), request_id=request_id.get(), **values),
        media_type=MediaType.HTML,
        status_code=status,
        cookies=list(cookies),
        headers={
            "Cache-Control": "no-store",
            "Content-Security-Policy": content_security_policy(nonce, scripts=scripts, framed=framed),
        },
    )


def see_other(location: str, cookies: Sequence[Cookie] = ()) -> Response[bytes]:
    """Redirect the browser to a GET, whatever the method of its request (RFC 9110 section 15.4.4).

    The location is one of our own paths, or a URI that was validated against the client's registration.
    """
    if location.startswith("/"):
        # A path that begins with two slashes would be read as a host.
        location = f"{settings().path}/{location.lstrip('/')}"
    return Response(
        b"",
        media_type=MediaType.TEXT,
        status_code=HTTPStatus.SEE_OTHER,
        # A path of this server may contain characters of the request that are not allowed in a header.
        headers={"Location": quote(location, safe=URI), "Cache-Control": "no-store"},
        cookies=list(cookies),
    )


def navigate(location: str, cookies: Sequence[Cookie] = ()) -> Response[str]:
    """Redirect the browser by a page with a refresh header, and a link for browsers that do not follow it.

    For the response to a form after which the browser may leave our origin, and for the URI of a native app. Browsers
    apply ``form-action`` to each redirect that follows a POST, also to those of other servers, and stop silently at
    one that is not allowed (Content Security Policy Level 3, section 6.4.2).

    Args:
        location: as for :func:`see_other`.
    """
    if location.startswith("/"):
        location = f"/{location.lstrip('/')}"
    return page("continue.html", cookies=cookies, location=location)
