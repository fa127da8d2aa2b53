"""The route that serves the uploaded logos of organizations, and that of the style sheets with their colours.

A style sheet follows from its colour alone, so its address names no organization.
"""

from typing import Any
from uuid import UUID

from litestar import Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from idp.directory.branding import LOGOS
from idp.directory.repository import branding as repository
from idp.http.access import Access
from idp.http.pictures import picture
from idp.infra import colors
from idp.infra.db.readiness import WITHOUT_DATABASE

_CACHED = {"Cache-Control": "public, max-age=31536000, immutable"}


@get(f"{LOGOS}/{{organization_id:uuid}}", opt={"access": Access.PUBLIC})
async def organization_logo(request: Request[Any, Any, Any], organization_id: FromPath[UUID]) -> Response[bytes]:
    """Serve the logo of an organization."""
    found = await repository.logo_of(organization_id)
    if found is None:
        raise NotFoundException
    return picture(request, found.logo, found.logo_type)


@get("/colors/{color:str}", opt={"access": Access.PUBLIC} | WITHOUT_DATABASE)
async def color_stylesheet(_request: Request[Any, Any, Any], color: FromPath[str]) -> Response[bytes]:
    """Serve the style sheet of a colour, such as ``/colors/0f5568.css``."""
    name, _, kind = color.partition(".")
    if kind != "css" or not colors.is_color(f"#{name}"):
        raise NotFoundException
    return Response(colors.stylesheet(f"#{name}").encode(), media_type="text/css", headers=_CACHED)


ROUTES = [organization_logo, color_stylesheet]
