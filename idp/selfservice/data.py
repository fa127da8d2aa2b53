"""`/account/data`: export of personal data, and deletion of the account."""

from typing import Any

import msgspec
from litestar import Request, Response, get, post

from idp import clock
from idp.accounts import kept_subjects, pictures
from idp.accounts.addresses import InvalidEmailError, normalise_email
from idp.accounts.attributes import service as attributes
from idp.accounts.attributes.models import Audience
from idp.accounts.claims import claims_of
from idp.accounts.last_owner import LastOwnerError
from idp.accounts.profile import delete_user
from idp.accounts.tables import User
from idp.audit.events import record
from idp.audit.repository import audit_events
from idp.directory import invited
from idp.directory.effective import memberships
from idp.directory.why import explained
from idp.federation.repository import identities_of
from idp.http.access import Access
from idp.http.pages import page
from idp.infra.db.engine import transaction
from idp.infra.i18n import gettext as _
from idp.mail import outbox
from idp.oauth import consent
from idp.oauth.scopes import CLAIMS
from idp.oauth.sign_out import sign_out_for_deletion
from idp.selfservice.account_page import AccountRequest, account_page, require_form, require_session
from idp.selfservice.security_mails import notify_change
from idp.settings import settings
from idp.signin.factors import passkeys
from idp.signin.http import no_session_cookies
from idp.signin.repository import sessions

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}
PATH = "/account/data"
#: Most recent events in an export.
EXPORTED_EVENTS = 10_000


@get(PATH, opt=PAGE)
async def show_data(request: AnyRequest) -> Response[Any]:
    """Show export and deletion."""
    account = await require_session(request, PATH)
    return account if isinstance(account, Response) else account_page(request, "data", account)


@post(f"{PATH}/download", opt=PAGE, status_code=200)
async def download(request: AnyRequest) -> Response[Any]:
    """Download all personal data except credentials, as one JSON file."""
    asked = await require_form(request, PATH, fresh=True)
    if isinstance(asked, Response):
        return asked
    account, _form = asked
    async with transaction():
        content = await export(account.user)
        await notify_change(account.user, "data_exported")
    return Response(
        msgspec.json.format(msgspec.json.encode(content), indent=2),
        media_type="application/json",
        headers={
            "Content-Disposition": f'attachment; filename="account-{clock.now():%Y-%m-%d}.json"',
            "Cache-Control": "no-store",
        },
    )


async def export(user: User) -> dict[str, Any]:
    """Return all personal data except credentials and attributes that only administrators see."""
    return {
        "issuer": settings().issuer,
        "exported_at": clock.now(),
        "claims": {"sub": kept_subjects.text(user.id)} | claims_of(user, CLAIMS),
        "attributes": await attributes.values(user.id, Audience.PERSON),
        **await _directory(user),
        "created_at": user.created_at,
        "picture": await _picture(user),
        "passkeys": [
            {"name": key.name, "created_at": key.created_at, "last_used_at": key.last_used_at}
            for key in await passkeys.passkeys_of(user.id)
        ],
        "identities": [
            {name: getattr(identity, name) for name in ("issuer", "email", "created_at", "last_used_at")}
            for identity in await identities_of(user.id)
        ],
        "consents": await consent.authorized_applications(user.id),
        "sessions": await sessions.all_sessions(user.id),
        "events": await audit_events.events_of_user(user.id, limit=EXPORTED_EVENTS),
    }


async def _picture(user: User) -> dict[str, Any] | None:
    found = await pictures.of_user(user.id)
    return {"media_type": found.media_type, "content": found.content} if found is not None else None


async def _directory(user: User) -> dict[str, Any]:
    """Return the groups, roles and organizations of a user, and invitations into organizations."""
    found, held = await explained(user.id), await memberships(user.id)
    return {
        "groups": [{"name": each.name, "direct": each.direct} for each in found.groups],
        "roles": [
            {"name": each.name, "client_id": each.client_id, "direct": each.direct}
            for each in found.roles
            if each.organization_id is None
        ],
        "invitations": [
            {
                "organization": each.slug,
                "email": each.email,
                "state": each.state,
                "created_at": each.created_at,
                "ended_at": each.ended_at,
            }
            for each in await invited.invitations_of(user)
        ],
        "organizations": [
            {"slug": each.slug, "name": each.name, "roles": each.roles} for each in held.organizations.values()
        ],
    }


@post(f"{PATH}/delete", opt=PAGE)
async def delete_account(request: AnyRequest) -> Response[Any]:
    """Delete the account. The user types the email address to confirm."""
    asked = await require_form(request, PATH, fresh=True)
    if isinstance(asked, Response):
        return asked
    account, form = asked
    if not _is_meant(account, form.get("email", "")):
        return account_page(
            request, "data", account, error=_("Type your email address as it is shown, to delete the account.")
        )
    user = account.user
    try:
        async with transaction():
            await delete_user(user.id, sign_out_for_deletion)
            await record("sign_out", user_id=user.id, session_id=account.session.id)
            await outbox.queue(user.email, "account_deleted", language=user.locale, name=user.name)
    except LastOwnerError:
        error = _("You are the last owner of this server. Make another user an owner first.")
        return account_page(request, "data", account, error=error)
    return page("account_deleted.html", cookies=no_session_cookies())


def _is_meant(account: AccountRequest, typed: str) -> bool:
    try:
        return normalise_email(typed) == account.user.email
    except InvalidEmailError:
        return False


ROUTES = [show_data, download, delete_account]
