"""`/account/passkeys`: adding, naming and removing passkeys."""

import secrets
from typing import Any
from uuid import UUID

from litestar import Request, Response, get, post
from litestar.params import FromPath

from idp.http.access import Access
from idp.http.pages import see_other
from idp.infra.db.engine import transaction
from idp.infra.i18n import gettext as _
from idp.selfservice.account_page import AccountRequest, account_page, ask, end_others, posted, visit
from idp.selfservice.security import PATH as SECURITY
from idp.selfservice.security_mails import changed
from idp.signin import factors, passkeys, sessions

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}
PATH = "/account/passkeys"


async def _page(request: AnyRequest, visitor: AccountRequest, error: str | None = None) -> Response[Any]:
    challenge = secrets.token_bytes(32)
    await sessions.store_challenge(visitor.session.id, challenge)
    options = passkeys.registration_options(visitor.user, challenge, await passkeys.passkeys_of(visitor.user.id))
    return account_page(request, "passkey", visitor, error=error, action=PATH, passkey_options=options, scripts=True)


@get(PATH, opt=PAGE)
async def show_add(request: AnyRequest) -> Response[Any]:
    """The page that lets the browser make a passkey."""
    visitor = await visit(request, PATH, fresh=True)
    return visitor if isinstance(visitor, Response) else await _page(request, visitor)


@post(PATH, opt=PAGE)
async def add(request: AnyRequest) -> Response[Any]:
    """Keep the passkey that the browser made for this page's challenge."""
    asked = await posted(request, PATH, fresh=True)
    if isinstance(asked, Response):
        return asked
    visitor, form = asked
    try:
        async with transaction():
            challenge = await sessions.consume_challenge(visitor.session.id)
            if challenge is None:
                return await _page(request, visitor, _("This page was open for too long. Try again."))
            await passkeys.register(visitor.user.id, form.get("name", ""), challenge, form.get("credential", ""))
            await changed(visitor.user, "passkey_added")
    except passkeys.InvalidPasskeyError as error:
        return await _page(request, visitor, str(error))
    return see_other(f"{SECURITY}?done=passkey")


@get(f"{PATH}/{{passkey_id:uuid}}", opt=PAGE)
async def ask_to_remove(request: AnyRequest, passkey_id: FromPath[UUID]) -> Response[Any]:
    """Ask before a passkey is removed, by its name."""
    visitor = await visit(request, SECURITY, fresh=True)
    if isinstance(visitor, Response):
        return visitor
    name = next((own.name for own in await passkeys.passkeys_of(visitor.user.id) if own.id == passkey_id), None)
    if name is None:
        return see_other(SECURITY)
    return await ask(
        request,
        f"{PATH}/{passkey_id}",
        heading=_("Remove the passkey “%(name)s”?", name=name),
        text=_("It no longer signs you in, and you are signed out everywhere else."),
        label=_("Remove"),
        fields={"action": "remove"},
    )


@post(f"{PATH}/{{passkey_id:uuid}}", opt=PAGE)
async def change(request: AnyRequest, passkey_id: FromPath[UUID]) -> Response[Any]:
    """Give a passkey another name, or remove it."""
    asked = await posted(request, SECURITY, fresh=True)
    if isinstance(asked, Response):
        return asked
    visitor, form = asked
    user = visitor.user
    if form.get("action") != "remove":
        await passkeys.rename(user.id, passkey_id, form.get("name", ""))
        return see_other(f"{SECURITY}?done=passkey-renamed")
    cookies = []
    async with transaction():
        if await passkeys.remove(user.id, passkey_id):
            await factors.forget_two_step_without_factors(user.id)
            cookies.append(await end_others(request, visitor, "passkey_removed"))
            await changed(user, "passkey_removed")
    return see_other(f"{SECURITY}?done=passkey-removed", cookies)


ROUTES = [show_add, add, ask_to_remove, change]
