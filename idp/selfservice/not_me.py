"""The page behind the link of the mail about a sign-in from a new browser: it signs the user out everywhere."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from litestar import Request, Response, get, post

from idp.accounts import email_proofs
from idp.accounts.email_proofs import Purpose
from idp.accounts.repository.users import lock_user, user_by_id
from idp.errors import PageError
from idp.federation import linking
from idp.federation.ldap.accounts import is_directory
from idp.http import forms
from idp.http.access import Access
from idp.http.pages import page, see_other
from idp.infra.db.engine import transaction
from idp.infra.i18n import gettext as _
from idp.oauth.sign_out import sign_out_everywhere
from idp.selfservice.identities import name_of
from idp.selfservice.recovery import FORGOT
from idp.selfservice.security_mails import notify_change
from idp.settings import settings
from idp.signin import devices, pages
from idp.signin import flow as flows
from idp.signin.factors import service as factors
from idp.signin.factors.passkey_providers import provider
from idp.signin.http import key_cookies, new_flow_key
from idp.signin.new_browser import PATH
from idp.signin.other_browser import dead_link

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}


@get(PATH, opt=PAGE)
async def show_not_me(request: AnyRequest) -> Response[Any]:
    """Show the target of the link. It changes nothing."""
    token = forms.query(request).get("token", "")
    if await email_proofs.verify_token(token, Purpose.NEW_BROWSER) is None:
        raise _too_old()
    return page("not_me.html", token=token)


def _too_old() -> PageError:
    return dead_link(_("Choose a new password"), FORGOT)


@post(PATH, opt=PAGE)
async def sign_out(request: AnyRequest) -> Response[Any]:
    """End all sessions and tokens of the user, forget their browsers, and go on to a new password.

    An intruder may have more sessions than the one that the mail is about, and may have added a way to come back.

    The token is the proof, so it works signed out, and the form needs no other. A new password needs a mail of its own.
    """
    token = (await forms.form(request)).get("token", "")
    proved = await email_proofs.verify_token(token, Purpose.NEW_BROWSER)
    if proved is None or proved.user_id is None:
        raise _too_old()
    key = await new_flow_key(request)
    async with transaction():
        # The user first, as every change of a credential does.
        await lock_user(proved.user_id)
        began = await email_proofs.first_of_session(proved)
        if not await email_proofs.consume(proved):
            raise _too_old()
        # Another mail of the same days would undo what the owner does now.
        await email_proofs.revoke_for_user(proved.user_id, kept=None)
        # Devices before sessions, as in a sign-in.
        await devices.forget_all(proved.user_id)
        await sign_out_everywhere(proved.user_id, "not_me")
        # What was added during the sign-in is older than its mail.
        await _remove_added(proved.user_id, began - timedelta(seconds=settings().flow_lifetime))
    binding = await flows.start(key, "/account/security", login_hint=proved.email)
    return see_other(f"{flows.path(binding)}/{pages.FORGOT}", key_cookies(key))


async def _remove_added(user_id: UUID, since: datetime) -> None:
    """Remove the ways to sign in that were added since a time, and mail the user about each."""
    if (user := await user_by_id(user_id)) is None:
        return
    passkeys, app = await factors.remove_added_since(user_id, since)
    for passkey in passkeys:
        await notify_change(user, "passkey_removed", passkey=provider(passkey.aaguid))
    if app:
        await notify_change(user, "totp_disabled")
    for upstream_id in await linking.unlink_added_since(user_id, since, is_directory):
        await linking.notify(user_id, "identity_unlinked", name_of(upstream_id))


ROUTES = [show_not_me, sign_out]
