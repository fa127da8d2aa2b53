"""Serving the static files of the pages, from memory."""

from functools import lru_cache
from typing import Any

from litestar import Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from idp.branding import stylesheets
from idp.http.access import Access
from idp.infra.db.readiness import WITHOUT_DATABASE
from idp.infra.templates import templates


@get("/static/{name:path}", opt={"access": Access.PUBLIC} | WITHOUT_DATABASE)
async def static_file(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
    """Serve a file from memory. The name is looked up in a dict, so path traversal is impossible."""
    asset = templates().assets.get(name)
    if asset is None:
        raise NotFoundException
    if (scheme := request.query_params.get("scheme")) in stylesheets.SCHEMES and name.endswith(".css"):
        # For previews (idp/admin/console/branding_preview.py).
        content = _in_scheme(asset.content, scheme)
        return Response(content, media_type=asset.media_type, headers={"Cache-Control": "public, max-age=3600"})
    headers = asset.headers(request.query_params.get("v"))
    if request.headers.get("if-none-match") == asset.etag:
        return Response(b"", status_code=304, headers=headers)
    return Response(asset.content, media_type=asset.media_type, headers=headers)


@lru_cache(maxsize=32)
def _in_scheme(content: bytes, scheme: str | None) -> bytes:
    return stylesheets.in_scheme(content.decode(), scheme).encode()


@get("/favicon.ico", opt={"access": Access.PUBLIC} | WITHOUT_DATABASE)
async def favicon(_: Request[Any, Any, Any]) -> Response[bytes]:
    """Return the icon at the path that browsers use by default, for example for a JSON response."""
    asset = templates().assets["favicon.svg"]
    return Response(asset.content, media_type=asset.media_type, headers=asset.headers(None))


ROUTES = [static_file, favicon]
