"""The route that serves the style sheets of brandings."""

from typing import Any

from litestar import Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from idp.branding import stylesheets
from idp.http.access import Access
from idp.infra.db.readiness import WITHOUT_DATABASE

_CACHED = {"Cache-Control": "public, max-age=31536000, immutable"}


@get(f"{stylesheets.PATH}/{{name:str}}", opt={"access": Access.PUBLIC} | WITHOUT_DATABASE)
async def branding_stylesheet(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
    """Serve a style sheet, such as ``/branding/styles/c-0f5568_r-large_.css``. ``?scheme=dark`` is for previews."""
    style = stylesheets.parse(name)
    if style is None:
        raise NotFoundException
    text = stylesheets.in_scheme(stylesheets.content(style), request.query_params.get("scheme"))
    return Response(text.encode(), media_type="text/css", headers=_CACHED)


ROUTES = [branding_stylesheet]
