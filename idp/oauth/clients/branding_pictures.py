"""The route that serves the pictures of brandings.

A picture is public while a branding shows it whose owner is the server, or a client or an organization that is enabled.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from litestar import Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from idp.branding import repository, stylesheets
from idp.branding.models import SERVER, Owner
from idp.directory.repository import organizations
from idp.http.access import Access
from idp.http.pictures import not_modified, picture
from idp.oauth.clients.repository import any_enabled

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@get(f"{stylesheets.PICTURES_PATH}/{{sha256:str}}", opt={"access": Access.PUBLIC})
async def branding_picture(request: Request[Any, Any, Any], sha256: FromPath[str]) -> Response[bytes]:
    """Serve a picture that a branding shows now. Its content is read only if the browser does not have it."""
    if not _SHA256.fullmatch(sha256) or not await _is_shown(await repository.shown_by(sha256)):
        raise NotFoundException
    if (unchanged := not_modified(request, sha256)) is not None:
        return unchanged
    found = (await repository.pictures([sha256])).get(sha256)
    if found is None:
        raise NotFoundException
    return picture(request, found.content, found.media_type)


async def _is_shown(owners: Sequence[Owner]) -> bool:
    if SERVER in owners:
        return True
    client_ids = [each.client_id for each in owners if each.client_id is not None]
    organization_ids = [each.organization_id for each in owners if each.organization_id is not None]
    return await any_enabled(client_ids) or await organizations.any_enabled(organization_ids)


ROUTES = [branding_picture]
