"""The claims about a user in one token or response (OpenID Connect Core section 5)."""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from idp.accounts.claims import claims_of
from idp.oauth.claims.models import Place, Rule
from idp.oauth.claims.rules import STANDARD
from idp.oauth.claims.user import ClaimUser
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.scopes import DIRECTORY_SCOPES, claims_of_scopes, visible_claims
from idp.settings import settings

#: The name of the source of claims that were left out.
_USERINFO = "userinfo"
_AT_RESOURCE_SERVERS = (Place.ACCESS_TOKEN, Place.INTROSPECTION)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A token or response, and what it is asked for.

    Attributes:
        scopes: the scopes of the token.
        resource: the resource servers that it is for.
        requested: the claims that the ``claims`` parameter names for this place.
        profile: whether the claims of the scopes ``profile``, ``email``, ``address`` and ``phone`` go here.
        reaches_userinfo: whether whoever reads this can ask userinfo for more.
    """

    place: Place
    client: Client
    scopes: Collection[str]
    resource: Sequence[str] = ()
    requested: Collection[str] = ()
    profile: bool = False
    reaches_userinfo: bool = False

    @property
    def limited(self) -> bool:
        """Whether the size matters: tokens are sent in headers, with every request."""
        return self.place in (Place.ACCESS_TOKEN, Place.ID_TOKEN)


async def access_token_claims(
    client: Client, scopes: Collection[str], resource: Sequence[str], user: ClaimUser
) -> dict[str, Any]:
    """Return the claims about a user in an access token."""
    # With OpenID Connect, userinfo accepts the token too.
    asked = Asked(
        place=Place.ACCESS_TOKEN,
        client=client,
        scopes=scopes,
        resource=resource,
        reaches_userinfo="openid" in scopes,
    )
    return await claims(asked, user)


async def claims(asked: Asked, user: ClaimUser) -> dict[str, Any]:
    """Return the claims about a user that go into a token or response."""
    names = visible_claims(asked.requested, asked.client.scopes)
    if asked.profile:
        names += claims_of_scopes(asked.scopes)
    found: dict[str, Any] = {}
    if names:
        row = await user.row() if not DIRECTORY_SCOPES.keys() >= set(names) else None
        found = claims_of(row, names) if row is not None else {}
    left_out = []
    for rule in STANDARD:
        if not _applies(rule, asked, names):
            continue
        value = (await rule.source.read(user, _client_of_roles(asked))).value
        if asked.limited and len(value) > settings().max_groups_in_token:
            left_out.append(rule)
        else:
            found[rule.claim] = list(value)
    return found | _elsewhere(left_out, asked) if left_out else found


def _elsewhere(left_out: Sequence[Rule], asked: Asked) -> dict[str, Any]:
    """Return the members that say where claims are that were left out: distributed claims (section 5.6.2)."""
    names = [rule.claim for rule in left_out if Place.USERINFO in rule.places and asked.reaches_userinfo]
    if not names:
        return {}
    return {
        "_claim_names": dict.fromkeys(names, _USERINFO),
        "_claim_sources": {_USERINFO: {"endpoint": f"{settings().issuer}/userinfo"}},
    }


def _applies(rule: Rule, asked: Asked, names: Collection[str]) -> bool:
    if rule.claim in names:
        return True
    return rule.scope in asked.scopes and (asked.place not in _AT_RESOURCE_SERVERS or _wanted(rule.scope, asked))


def _wanted(scope: str | None, asked: Asked) -> bool:
    """Return whether a resource server of the token has this scope among its own."""
    servers = map(registry.resource_server, asked.resource)
    return any(server is not None and scope in server.scopes for server in servers)


def _client_of_roles(asked: Asked) -> str | None:
    """Return the client whose roles a claim has. It is one at most, so that no role is taken for that of another.

    For a resource server it is the client of the resource server, if that has one; otherwise the client of the token.
    """
    if asked.place not in _AT_RESOURCE_SERVERS:
        return asked.client.client_id
    servers = map(registry.resource_server, asked.resource)
    found = {(server.client_id if server is not None else None) or asked.client.client_id for server in servers}
    return found.pop() if len(found) == 1 else None if found else asked.client.client_id
