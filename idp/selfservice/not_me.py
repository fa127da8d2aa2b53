"""The page behind the link of the mail about a sign-in from a new browser: it signs the user out everywhere."""

from datetime import timedelta
from typing import Any

from litestar import Request, Response, get, post

from idp.accounts import email_proofs
from idp.accounts.email_proofs import Purpose
from idp.accounts.repository.users import lock_user
from idp.errors import PageError
from idp.federation.ldap.accounts import is_directory
from idp.federation.linking import unlink_added_since
from idp.http import forms
from idp.http.access import Access
from idp.http.pages import page, see_other
from idp.infra.db.engine import transaction
from idp.infra.i18n import gettext as _
from idp.oauth.sign_out import sign_out_everywhere
from idp.selfservice.recovery import FORGOT
from idp.settings import settings
from idp.signin import devices, pages
from idp.signin import flow as flows
from idp.signin.factors import service as factors
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
    """End all sessions and tokens of the user, forget their browsers, remove the ways to sign in that were added since
    the sign-in began, and go on to a new password.

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
        if not await email_proofs.consume(proved):
            raise _too_old()
        # Devices before sessions, as in a sign-in.
        await devices.forget_all(proved.user_id)
        await sign_out_everywhere(proved.user_id, "not_me")
        # A factor that was set up during the sign-in is older than its mail.
        began = proved.created_at - timedelta(seconds=settings().flow_lifetime)
        await factors.remove_added_since(proved.user_id, began)
        await unlink_added_since(proved.user_id, began, is_directory)
    binding = await flows.start(key, "/account/security", login_hint=proved.email)
    return see_other(f"{flows.path(binding)}/{pages.FORGOT}", key_cookies(key))


ROUTES = [show_not_me, sign_out]
