"""Upstream identities on the security page: listing, linking and unlinking."""

from typing import Any
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath

from idp.federation import linking
from idp.federation.ldap.accounts import is_directory
from idp.federation.registry import upstreams
from idp.federation.repository import identities_of
from idp.http import cookies
from idp.http.access import Access
from idp.http.pages import see_other
from idp.infra.db.engine import transaction
from idp.infra.i18n import gettext as _
from idp.selfservice.account_page import (
    AccountRequest,
    confirmation_page,
    end_other_sessions,
    require_form,
    require_session,
)
from idp.selfservice.notices import see_done
from idp.settings import settings
from idp.signin.csrf import form_token
from idp.signin.factors.passkeys import passkeys_of
from idp.signin.upstream_accounts import linkable

AnyRequest = Request[Any, Any, Any]
PATH = "/account/security"


async def shown(request: AnyRequest, account: AccountRequest) -> dict[str, Any]:
    """Return the linked identities and the upstreams that can be linked."""
    own = await identities_of(account.user.id)
    secret = cookies.read(request, cookies.SESSION) or ""
    has_password = account.user.password_hash is not None
    connected = {identity.upstream_id for identity in own}
    return {
        "identities": [
            msgspec.structs.asdict(identity)
            | {"name": name_of(identity.upstream_id), "fixed": not has_password and is_directory(identity.issuer)}
            for identity in own
        ],
        "upstreams": [
            {
                "id": upstream.id,
                "name": upstream.name,
                "href": f"/account/upstreams/{upstream.id}/link?csrf_token={form_token(secret, f'link {upstream.id}')}",
            }
            for upstream in await linkable(account.user)
            if upstream.id not in connected
        ],
    }


def name_of(upstream_id: str) -> str:
    """Return the name of an upstream for users."""
    known = upstreams.get(upstream_id)
    return known.name if known else upstream_id


@get("/account/upstreams/{identity_id:uuid}/unlink", opt={"access": Access.PAGE})
async def ask_to_unlink(request: AnyRequest, identity_id: FromPath[UUID]) -> Response[Any]:
    """Ask for confirmation before an identity is unlinked."""
    account = await require_session(request, PATH, fresh=True)
    if isinstance(account, Response):
        return account
    own = await identities_of(account.user.id)
    name = next((name_of(identity.upstream_id) for identity in own if identity.id == identity_id), None)
    if name is None:
        return see_other(PATH)
    return await confirmation_page(
        request,
        f"/account/upstreams/{identity_id}/unlink",
        heading=_("Disconnect %(upstream)s?", upstream=name),
        text=_("You can no longer sign in with it, and you are signed out everywhere else."),
        undo=_("You can connect it again at any time."),
        label=_("Disconnect"),
    )


@post("/account/upstreams/{identity_id:uuid}/unlink", opt={"access": Access.PAGE})
async def unlink(request: AnyRequest, identity_id: FromPath[UUID]) -> Response[Any]:
    """Unlink an identity, unless it is the last authentication method."""
    asked = await require_form(request, PATH, fresh=True)
    if isinstance(asked, Response):
        return asked
    account, cookies = asked[0], []
    user = account.user
    async with transaction():
        parted = await linking.unlink(
            user.id,
            identity_id,
            by_mail=settings().email_code_sign_in,
            passkeys_of=passkeys_of,
            is_directory=is_directory,
        )
        if parted is not None:
            cookies += await end_other_sessions(request, account, "identity_unlinked")
            await linking.notify(user.id, "identity_unlinked", name_of(parted))
    if parted is None:
        return see_other(f"{PATH}?done=last-way")
    return see_done(PATH, "unlinked", user.id, name_of(parted), cookies)


ROUTES = [ask_to_unlink, unlink]
