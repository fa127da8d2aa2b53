"""What a client asks for, in words: what it would be able to do, what of the user it would see, and for how long."""

from collections.abc import Iterable
from typing import Any

from idp.accounts.claims import VERIFICATION_CLAIMS, UserRow, claims_of
from idp.accounts.tables import User
from idp.infra.i18n import gettext as _
from idp.infra.i18n import ngettext
from idp.oauth.authorize.request import AuthorizationRequest
from idp.oauth.clients.models import Client, ResourceServer
from idp.oauth.clients.registry import registry
from idp.oauth.details import words
from idp.oauth.scopes import STANDARD_SCOPES, ScopeDescription, also_released, describe, describe_claim
from idp.oauth.token import lifetimes
from idp.settings import MINUTE

#: Claims that are not shown beside the others: whether something was verified, and when the profile changed.
_NOT_SHOWN = {*VERIFICATION_CLAIMS, "updated_at"}


def in_words(asked: AuthorizationRequest, client: Client, user: User) -> dict[str, Any]:
    """Return the values of the page for what a client asks."""
    named = asked.resource or registry.audience(client, asked.scope)
    servers = [server for one in named if (server := registry.resource_server(one)) is not None]
    return {
        "scopes": [_scope(scope, servers, user) for scope in asked.scope if scope != "openid"],
        "claims": [_claim(claim, user) for claim in asked.claims_by_name],
        "details": words.describe(asked.authorization_details),
        "resources": [server.name for server in servers],
        "lasting": lasting(asked, client),
    }


def _scope(scope: str, servers: list[ResourceServer], user: UserRow) -> ScopeDescription:
    if scope in STANDARD_SCOPES:
        return describe(scope, values(STANDARD_SCOPES[scope], user))
    return describe_at(scope, servers)


def describe_at(scope: str, servers: Iterable[ResourceServer] = ()) -> ScopeDescription:
    """Return the text of a scope of resource servers: the words of those that the tokens are for, else of the only one
    that defines it.

    Two of them may describe one scope differently. If the tokens are for neither, its own name is all that is certain.

    Args:
        servers: those that the tokens are for.
    """
    defining = [server for server in servers if scope in server.scopes]
    if not defining:
        defining = [server for server in registry.resource_servers.values() if scope in server.scopes]
        if len(defining) != 1:
            return describe(scope)
    texts = (
        server.scope_descriptions.get(scope) or _("Use %(service)s on your behalf", service=server.name)
        for server in defining
    )
    return ScopeDescription(scope, " · ".join(dict.fromkeys(texts)), also_released(scope), code=scope)


def values(claims: Iterable[str], user: UserRow) -> tuple[tuple[str, str], ...]:
    """Return what a client would see of a user, as far as the profile has it: labels and values."""
    found = claims_of(user, [claim for claim in claims if claim not in _NOT_SHOWN])
    return tuple((describe_claim(claim), _text(value)) for claim, value in found.items())


def _claim(claim: str, user: UserRow) -> str:
    found = values([claim], user)
    return _("%(name)s: %(value)s", name=found[0][0], value=found[0][1]) if found else describe_claim(claim)


def _text(value: Any) -> str:
    """Return a claim as one line. An address has members."""
    if isinstance(value, dict):
        lines = [value["formatted"]] if "formatted" in value else list(map(str, value.values()))
        return ", ".join(part for line in lines for part in line.splitlines())
    return str(value)


def lasting(asked: AuthorizationRequest, client: Client) -> str:
    """Return how long the client keeps the access."""
    if asked.polled is not None or "offline_access" in asked.scope:
        return _("Until you remove it in your account, under Applications.")
    if "refresh_token" in client.grant_types:
        return _("Until you sign out. You can remove it earlier in your account, under Applications.")
    minutes = max(1, lifetimes.of_access_tokens(client) // MINUTE)
    return ngettext("%(count)s minute after each sign-in.", "%(count)s minutes after each sign-in.", minutes)
