"""The routes that serve the pictures and the style sheets of brandings."""

import re
from typing import Any

from litestar import Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from idp.branding import repository, stylesheets
from idp.http.access import Access
from idp.http.pictures import picture
from idp.infra.db.readiness import WITHOUT_DATABASE

_CACHED = {"Cache-Control": "public, max-age=31536000, immutable"}
_SHA256 = re.compile(r"[0-9a-f]{64}")


@get(f"{stylesheets.PICTURES_PATH}/{{sha256:str}}", opt={"access": Access.PUBLIC})
async def branding_picture(request: Request[Any, Any, Any], sha256: FromPath[str]) -> Response[bytes]:
    """Serve a picture that a branding shows now."""
    found = await repository.shown_picture(sha256) if _SHA256.fullmatch(sha256) else None
    if found is None:
        raise NotFoundException
    return picture(request, found.content, found.media_type)


@get(f"{stylesheets.PATH}/{{name:str}}", opt={"access": Access.PUBLIC} | WITHOUT_DATABASE)
async def branding_stylesheet(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
    """Serve a style sheet, such as ``/branding/styles/c-0f5568_r-large_.css``. ``?scheme=dark`` is for previews."""
    style = stylesheets.parse(name)
    if style is None:
        raise NotFoundException
    text = stylesheets.in_scheme(stylesheets.content(style), request.query_params.get("scheme"))
    return Response(text.encode(), media_type="text/css", headers=_CACHED)


ROUTES = [branding_picture, branding_stylesheet]
