"""`/account/picture`: uploading and removing the picture of a user; and the route that serves it to applications."""

from typing import Any

from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from idp.accounts import pictures
from idp.errors import TooManyRequestsError
from idp.http.access import Access
from idp.http.exception_handlers import slowed_down, wait_sentence
from idp.http.pages import see_other
from idp.http.pictures import PRIVATE, picture
from idp.infra.i18n import gettext as _
from idp.infra.pictures import MAX_BYTES, InvalidPictureError
from idp.selfservice import profile
from idp.selfservice.account_page import confirmation_page, require_form, require_form_with_file
from idp.signin import limits
from idp.signin.http import browser_of

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}
PATH = "/account/picture"
REMOVE = f"{PATH}/remove"


@post(PATH, opt=PAGE)
async def upload_picture(request: AnyRequest) -> Response[Any]:
    """Store the uploaded picture."""
    asked = await require_form_with_file(request, profile.PATH)
    if isinstance(asked, Response):
        return asked
    account, file = asked
    try:
        await limits.count_step(browser_of(request))
        await pictures.save(account.user.id, file)
    except TooManyRequestsError as error:
        refused = await profile.profile_page(request, account, errors={"file": wait_sentence(error)})
        return slowed_down(refused, error)
    except InvalidPictureError:
        message = _("Choose a PNG, JPEG, GIF or WebP picture of up to %(size)s KiB.", size=MAX_BYTES // 1024)
        return await profile.profile_page(request, account, errors={"file": message})
    return see_other(f"{profile.PATH}?done=picture")


@get(REMOVE, opt=PAGE)
async def ask_to_remove_picture(request: AnyRequest) -> Response[Any]:
    """Ask for confirmation before the picture is removed."""
    return await confirmation_page(
        request,
        REMOVE,
        heading=_("Remove your picture?"),
        text=_("Applications no longer get it, and its link stops working. Those that made a copy keep it."),
        undo=_("You can upload it again at any time."),
        label=_("Remove"),
        back=profile.PATH,
        fresh=False,
    )


@post(REMOVE, opt=PAGE)
async def remove_picture(request: AnyRequest) -> Response[Any]:
    """Delete the picture."""
    asked = await require_form(request, profile.PATH)
    if isinstance(asked, Response):
        return asked
    await pictures.remove(asked[0].user.id)
    return see_other(f"{profile.PATH}?done=picture-removed")


@get(f"{pictures.PATH}/{{token:str}}", opt={"access": Access.PUBLIC})
async def serve_picture(request: AnyRequest, token: FromPath[str]) -> Response[bytes]:
    """Serve the picture of a user to any caller that has its URL."""
    found = await pictures.find(token)
    if found is None:
        raise NotFoundException
    return picture(request, found.content, found.media_type, PRIVATE)


ROUTES = [upload_picture, ask_to_remove_picture, remove_picture, serve_picture]
