"""`/account/passkeys`: adding, renaming and removing passkeys."""

import secrets
from typing import Any
from uuid import UUID

from litestar import Request, Response, get, post
from litestar.params import FromPath

from idp.http.access import Access
from idp.http.pages import see_other
from idp.infra.db.engine import transaction
from idp.infra.geoip import device
from idp.infra.i18n import gettext as _
from idp.selfservice.account_page import (
    AccountRequest,
    account_page,
    confirmation_page,
    end_other_sessions,
    require_form,
    require_session,
)
from idp.selfservice.notices import see_done
from idp.selfservice.security import PATH as SECURITY
from idp.selfservice.security_mails import notify_change
from idp.signin import sessions
from idp.signin.factors import passkeys
from idp.signin.factors import service as factors
from idp.signin.factors.passkey_providers import provider
from idp.signin.http import browser_of
from idp.signin.tables import Passkey

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}
PATH = "/account/passkeys"


async def _page(request: AnyRequest, account: AccountRequest, error: str | None = None) -> Response[Any]:
    challenge = secrets.token_bytes(32)
    await sessions.store_challenge(account.session, challenge)
    options = passkeys.registration_options(account.user, challenge, await passkeys.passkeys_of(account.user.id))
    return account_page(request, "passkey", account, error=error, action=PATH, passkey_options=options, scripts=True)


@get(PATH, opt=PAGE)
async def show_add(request: AnyRequest) -> Response[Any]:
    """Show the page on which the browser creates a passkey."""
    account = await require_session(request, PATH, fresh=True)
    return account if isinstance(account, Response) else await _page(request, account)


@post(PATH, opt=PAGE)
async def add(request: AnyRequest) -> Response[Any]:
    """Store the passkey that the browser created for the page's challenge."""
    asked = await require_form(request, PATH, fresh=True)
    if isinstance(asked, Response):
        return asked
    account, form = asked
    try:
        async with transaction():
            challenge = await sessions.consume_challenge(account.session)
            if challenge is None:
                return await _page(request, account, _("This page was open for too long. Try again."))
            passkey = await passkeys.register(
                account.user.id, "", challenge, form.get("credential", ""), device=_device(request)
            )
            await notify_change(account.user, "passkey_added", passkey=provider(passkey.aaguid))
    except passkeys.InvalidPasskeyError as error:
        return await _page(request, account, str(error))
    return see_done(SECURITY, "passkey", account.user.id, passkey.name)


def _device(request: AnyRequest) -> str:
    user_agent = browser_of(request).user_agent
    return device(user_agent) if user_agent else ""


@get(f"{PATH}/{{passkey_id:uuid}}", opt=PAGE)
async def ask_to_remove(request: AnyRequest, passkey_id: FromPath[UUID]) -> Response[Any]:
    """Ask for confirmation before a passkey is removed."""
    account = await require_session(request, SECURITY, fresh=True)
    if isinstance(account, Response):
        return account
    passkey = await _own(account, passkey_id)
    if passkey is None:
        return see_other(SECURITY)
    return await confirmation_page(
        request,
        f"{PATH}/{passkey_id}",
        heading=_("Remove the passkey “%(name)s”?", name=passkey.name),
        text=_("You can no longer sign in with it, and you are signed out everywhere else."),
        undo=_("To sign in with this device again, add a new passkey."),
        label=_("Remove"),
        fields={"action": "remove"},
    )


@post(f"{PATH}/{{passkey_id:uuid}}", opt=PAGE)
async def change(request: AnyRequest, passkey_id: FromPath[UUID]) -> Response[Any]:
    """Rename or remove a passkey."""
    asked = await require_form(request, SECURITY, fresh=True)
    if isinstance(asked, Response):
        return asked
    account, form = asked
    user, passkey = account.user, await _own(account, passkey_id)
    if passkey is None:
        return see_other(SECURITY)
    if form.get("action") != "remove":
        name = passkeys.clean_name(form.get("name", ""))
        renamed = await passkeys.rename(user.id, passkey_id, name)
        return see_done(SECURITY, "passkey-renamed", user.id, name) if renamed else see_other(SECURITY)
    cookies = []
    async with transaction():
        if await passkeys.remove(user.id, passkey_id):
            await factors.forget_two_step_without_factors(user.id)
            cookies += await end_other_sessions(request, account, "passkey_removed")
            await notify_change(user, "passkey_removed", passkey=provider(passkey.aaguid))
    return see_done(SECURITY, "passkey-removed", user.id, passkey.name, cookies)


async def _own(account: AccountRequest, passkey_id: UUID) -> Passkey | None:
    return next((own for own in await passkeys.passkeys_of(account.user.id) if own.id == passkey_id), None)


ROUTES = [show_add, add, ask_to_remove, change]
