"""`/account/apps`: the applications that the user may start, those with access, and withdrawing consent."""

from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath

from idp.http.access import Access
from idp.http.pages import see_other
from idp.infra.i18n import gettext as _
from idp.oauth import consent
from idp.oauth.access_policies.applications import applications_of
from idp.oauth.clients.path_ids import client_id_of, path_id
from idp.oauth.clients.registry import registry
from idp.oauth.consent_grant import ConsentedScope
from idp.oauth.details import words
from idp.oauth.scopes import STANDARD_SCOPES, also_released, describe, describe_claim
from idp.selfservice.account_page import AccountRequest, account_page, confirmation_page, require_form, require_session
from idp.selfservice.notices import see_done

AnyRequest = Request[Any, Any, Any]
PAGE = {"access": Access.PAGE}
PATH = "/account/apps"
REVOKE = f"{PATH}/{{client_id:str}}/revoke"


@get(PATH, opt=PAGE)
async def show_apps(request: AnyRequest) -> Response[Any]:
    """Show the applications that the user may start, and every one with a consent or with tokens."""
    account = await require_session(request, PATH)
    if isinstance(account, Response):
        return account
    authorized = await consent.authorized_applications(account.user.id)
    mine = await applications_of(account.user.id, {app.client_id for app in authorized})
    return account_page(request, "apps", account, mine=mine, apps=list(map(_shown, authorized)))


def _shown(app: consent.AuthorizedApplication) -> dict[str, Any]:
    """Describe what an application may do here and at each resource server."""
    at: dict[str | None, list[str]] = {}
    for granted in app.grants:
        if granted.scope != "openid":
            at.setdefault(granted.resource, []).append(_title(granted))
    for detail in words.describe(app.details):
        at.setdefault(detail.resource, []).append(detail.sentence or detail.title)
    scopes = at.pop(None, []) + [describe_claim(claim) for claim in app.claims]
    services = [(_name(resource), titles) for resource, titles in at.items() if resource is not None]
    return msgspec.structs.asdict(app) | {
        "path": f"{PATH}/{path_id(app.client_id)}",
        "scopes": scopes,
        "services": sorted(services),
    }


def _title(granted: ConsentedScope) -> str:
    server = registry.resource_server(granted.resource) if granted.resource is not None else None
    if granted.scope in STANDARD_SCOPES:
        title = describe(granted.scope).title
    elif server is None:
        return describe(granted.scope).title
    else:
        title = server.scope_descriptions.get(granted.scope) or granted.scope
    return " · ".join(filter(None, (title, also_released(granted.scope))))


def _name(resource: str) -> str:
    server = registry.resource_server(resource)
    return server.name if server is not None else resource


@get(REVOKE, opt=PAGE)
async def ask_to_revoke(request: AnyRequest, client_id: FromPath[str]) -> Response[Any]:
    """Ask for confirmation before an application loses its access."""
    account = await require_session(request, PATH)
    if isinstance(account, Response):
        return account
    name = await _authorized(account, client_id)
    if name is None:
        return see_other(PATH)
    return await confirmation_page(
        request,
        f"{PATH}/{client_id}/revoke",
        heading=_("Remove the access of %(app)s?", app=name),
        text=_("It can no longer see your data or act on your behalf. What it has stored itself, it keeps."),
        undo=_("The next time that you sign in to it, it asks you to allow access again."),
        label=_("Remove access"),
        back=PATH,
        fresh=False,
    )


async def _authorized(account: AccountRequest, client_id: str) -> str | None:
    """Return the name of an application that has access."""
    wanted, authorized = client_id_of(client_id), await consent.authorized_applications(account.user.id)
    return next((app.client_name or app.client_id for app in authorized if app.client_id == wanted), None)


@post(REVOKE, opt=PAGE)
async def revoke_app(request: AnyRequest, client_id: FromPath[str]) -> Response[Any]:
    """Withdraw the consent and revoke all tokens that came from it."""
    asked = await require_form(request, PATH)
    if isinstance(asked, Response):
        return asked
    account, _form = asked
    name = await _authorized(account, client_id)
    await consent.withdraw(account.user.id, client_id_of(client_id))
    return see_done(PATH, "app", account.user.id, name or "")


ROUTES = [show_apps, ask_to_revoke, revoke_app]
