"""The claims about a user in one token or response (OpenID Connect Core section 5)."""

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from idp.accounts.claims import DIRECTORY_CLAIMS, claims_of
from idp.oauth.claims.models import Place, Rule, Shape
from idp.oauth.claims.rules import rules_of
from idp.oauth.claims.user import ClaimUser
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.scopes import SCOPE_OF_CLAIM, claims_of_scopes, visible_claims
from idp.settings import settings

#: The name of the source of claims that were left out.
_USERINFO = "userinfo"
_AT_RESOURCE_SERVERS = (Place.ACCESS_TOKEN, Place.INTROSPECTION)


class Why(StrEnum):
    """Why a claim is there, or is not."""

    INCLUDED = "included"
    SCOPE_NOT_REQUESTED = "scope_not_requested"
    SCOPE_NOT_ALLOWED = "scope_not_allowed"
    NOT_IN_THIS_PLACE = "not_in_this_place"
    RESOURCE_SERVER_DOES_NOT_ASK = "resource_server_does_not_ask"
    #: An ID token without the claims of the profile.
    ONLY_AT_USERINFO = "only_at_userinfo"
    #: By a rule of the client, or of a scope.
    REPLACED = "replaced"
    NO_MAPPING = "no_mapping"
    USER_HAS_NONE = "user_has_none"
    FILTERED_OUT = "filtered_out"
    ABOVE_LIMIT = "above_limit"


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
    def names(self) -> list[str]:
        """The standard claims that are asked for."""
        return [*self.by_name, *claims_of_scopes(self.scopes)] if self.profile else self.by_name

    @property
    def by_name(self) -> list[str]:
        """Those that are requested by name, of the scopes that the client may have."""
        return visible_claims(self.requested, self.client.scopes)

    @property
    def limited(self) -> bool:
        """Whether the size matters: tokens are sent in headers, with every request."""
        return self.place in (Place.ACCESS_TOKEN, Place.ID_TOKEN)


class Evaluated(NamedTuple):
    """The value of a claim by one rule; None: it is left out."""

    value: Any
    why: Why


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
    """Return the claims about a user that go into a token or response, with those that a token hook adds."""
    found, added = await _by_rules(asked, user), user.added.get(asked.place)
    return merged(found, added) if added else found


def merged(content: dict[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    """Return content with claims about the user, which replace others. They are not elsewhere any more."""
    elsewhere = {name: source for name, source in content.get("_claim_names", {}).items() if name not in about}
    if elsewhere:
        return {**content, **about, "_claim_names": elsewhere}
    return {name: value for name, value in content.items() if name not in ("_claim_names", "_claim_sources")} | {
        **about
    }


async def _by_rules(asked: Asked, user: ClaimUser) -> dict[str, Any]:
    names = asked.names
    found = await profile_claims(names, user) if names else {}
    rules = rules_of(asked.client, asked.scopes, names)
    if not rules:
        return found
    mapped: dict[str, Any] = {}
    left_out: list[Rule] = []
    for rule in rules:
        if why_not(rule, asked) is not None:
            continue
        value, why = await evaluated(rule, asked, user)
        if why is Why.ABOVE_LIMIT:
            left_out.append(rule)
        elif value is not None and rule.claim not in mapped:
            mapped[rule.claim] = value
        elif value is not None and rule.shape is Shape.OBJECT:
            mapped[rule.claim] = mapped[rule.claim] | value
    return found | (mapped if not left_out else _without(left_out, mapped, asked))


def decided(asked: Asked) -> set[str]:
    """Return the claims that rules decide in this place, whether they have a value for a user or not."""
    return {rule.claim for rule in rules_of(asked.client, asked.scopes, asked.names) if why_not(rule, asked) is None}


async def profile_claims(names: Collection[str], user: ClaimUser) -> dict[str, Any]:
    """Return those of the claims that the profile has."""
    row = await user.row() if not DIRECTORY_CLAIMS.keys() >= set(names) else None
    return claims_of(row, names) if row is not None else {}


def why_not(rule: Rule, asked: Asked) -> Why | None:
    """Return why a rule adds nothing, whoever the user is; None if it may."""
    if asked.place not in rule.places:
        return Why.NOT_IN_THIS_PLACE
    # A request by name stands for the scope of the standard claim, not for the scope of another rule.
    if rule.claim in asked.by_name and rule.scope in (None, SCOPE_OF_CLAIM[rule.claim]):
        return None
    if rule.scope is not None and rule.scope not in asked.scopes:
        return Why.SCOPE_NOT_REQUESTED
    if rule.when_asked and asked.place in _AT_RESOURCE_SERVERS and not _wanted(rule.scope, asked):
        return Why.RESOURCE_SERVER_DOES_NOT_ASK
    if rule.beside_profile and asked.place is Place.ID_TOKEN and not asked.profile:
        return Why.ONLY_AT_USERINFO
    return None


async def evaluated(rule: Rule, asked: Asked, user: ClaimUser) -> Evaluated:
    """Return what a rule adds for a user, if nothing is against it (:func:`why_not`)."""
    client_id = client_of_roles(asked)
    value, filtered = await rule.source.read(user, client_id)
    if asked.limited and _size(value) > settings().max_groups_in_token:
        return Evaluated(None, Why.ABOVE_LIMIT)
    written = rule.written(value, rule.source.client_of_roles(client_id))
    if value in (None, ()):
        return Evaluated(written, Why.FILTERED_OUT if filtered else Why.USER_HAS_NONE)
    return Evaluated(written, Why.INCLUDED if written is not None else Why.FILTERED_OUT)


def _size(value: Any) -> int:
    """Return the number of names in a value."""
    if isinstance(value, dict):
        value = value.get("roles")
    return len(value) if isinstance(value, list | tuple) else 1


def _without(left_out: Sequence[Rule], mapped: dict[str, Any], asked: Asked) -> dict[str, Any]:
    """Return the claims without those of some rules, and where those are: distributed claims (section 5.6.2)."""
    kept = {name: value for name, value in mapped.items() if name not in {rule.claim for rule in left_out}}
    names = [rule.claim for rule in left_out if Place.USERINFO in rule.places and asked.reaches_userinfo]
    if not names:
        return kept
    return kept | {
        "_claim_names": dict.fromkeys(names, _USERINFO),
        "_claim_sources": {_USERINFO: {"endpoint": f"{settings().issuer}/userinfo"}},
    }


def _wanted(scope: str | None, asked: Asked) -> bool:
    """Return whether a resource server of the token has this scope among its own."""
    servers = map(registry.resource_server, asked.resource)
    return any(server is not None and scope in server.scopes for server in servers)


def client_of_roles(asked: Asked) -> str | None:
    """Return the client whose roles a claim has. It is one at most, so that no role is taken for that of another.

    For a resource server it is the client of the resource server, if that has one; otherwise the client of the token.
    """
    if asked.place not in _AT_RESOURCE_SERVERS:
        return asked.client.client_id
    servers = map(registry.resource_server, asked.resource)
    found = {(server.client_id if server is not None else None) or asked.client.client_id for server in servers}
    return found.pop() if len(found) == 1 else None if found else asked.client.client_id
