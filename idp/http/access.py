"""Who may call a route, and the guards that follow from it. A route that does not say so does not start."""

from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from litestar import Request

from idp.errors import PageError
from idp.http.body import MAX_BODY_BYTES, body_of
from idp.http.headers import request_header
from idp.infra.db.readiness import readiness
from idp.infra.i18n import gettext as _
from idp.settings import settings

AnyRequest = Request[Any, Any, Any]
#: Checks a request before its body is read. Raises the error that refuses it.
Guard = Callable[[AnyRequest], None]


class Access(StrEnum):
    """Who may call a route: ``opt={"access": ...}``."""

    #: Any caller, from any origin. The route changes nothing, and shows nothing of the caller without further proof.
    PUBLIC = "public"
    #: A user's browser, which any site may send here with a GET or a POST.
    ENTRY = "entry"
    #: A user's browser on our own pages. Every POST must come from our own pages.
    PAGE = "page"
    #: A client that the endpoint itself authenticates.
    CLIENT = "client"
    #: The bearer of an access token, which the endpoint itself checks.
    BEARER = "bearer"


def same_origin(request: AnyRequest) -> None:
    """Refuse a form that a page of another site sends to one of our pages (CSRF, login CSRF).

    Every browser in use sends the Origin header with a POST; a request without it is refused too.

    Raises:
        PageError: the request comes from another origin.
    """
    if request.method not in ("GET", "HEAD") and request_header(request.scope, b"origin") != settings().origin:
        raise PageError(
            _("This form came from another site"),
            _("For your safety, we did not accept it. Go back to the page you came from and try again."),
        )


class LargeBody(NamedTuple):
    """A body that only some callers may send, so that a stranger cannot fill the memory.

    Attributes:
        size: returns its maximum size in bytes.
        admits: whether the caller may send it. It is a first look: the handler checks the authority after the body was
            read.
    """

    size: Callable[[], int]
    admits: Callable[[AnyRequest], Awaitable[bool]]


#: The guards of a route, by its access. For CLIENT and BEARER, the endpoint authenticates as its protocol requires.
GUARDS: Mapping[Access, tuple[Guard, ...]] = {
    Access.PUBLIC: (),
    Access.ENTRY: (),
    Access.PAGE: (same_origin,),
    Access.CLIENT: (),
    Access.BEARER: (),
}


async def admit(request: AnyRequest, opt: Mapping[str, Any]) -> None:
    """Run the checks that precede the handler of a route.

    The body is read before the handler looks anything up (:mod:`idp.http.body`).

    Args:
        opt: the ``opt`` of the route. ``large_body``: a :class:`LargeBody`, if a body may have more than
            :data:`MAX_BODY_BYTES`.

    Raises:
        PageError: a guard refuses the request.
        HTTPException: the body is too long, too slow or malformed.
        DatabaseUnavailableError: the route needs the database, which this process has not joined.
    """
    for guard in GUARDS[opt["access"]]:
        guard(request)
    limit = MAX_BODY_BYTES
    if (large := opt.get("large_body")) is not None and await large.admits(request):
        limit = large.size()
    await body_of(request).read(limit)
    readiness.require(opt)
