"""The rules by which a client gets claims beside those of the profile."""

from collections.abc import Collection, Iterable

from idp.accounts.attributes.models import Attribute as DeclaredAttribute
from idp.accounts.attributes.registry import attributes
from idp.oauth.claims.models import Place, Rule
from idp.oauth.claims.sources import Attribute, Groups, Organization, Roles
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry

_EVERYWHERE = tuple(Place)
#: The scopes of the directory. Applications such as kubectl, oauth2-proxy and Grafana read groups and roles in the ID
#: token. A client that does not request them has a lean one.
STANDARD = (
    Rule(claim="groups", scope="groups", source=Groups(), places=_EVERYWHERE, when_asked=True),
    Rule(claim="roles", scope="roles", source=Roles(), places=_EVERYWHERE, when_asked=True),
    Rule(claim="organization", scope="organization", source=Organization(), places=_EVERYWHERE, when_asked=True),
)


def of_attribute(attribute: DeclaredAttribute) -> Rule:
    """Return the rule of a declared attribute that has a scope."""
    return Rule(
        claim=attribute.claim or attribute.name,
        scope=attribute.scope,
        source=Attribute(name=attribute.name),
        places=_EVERYWHERE,
        when_asked=True,
        beside_profile=True,
    )


def rules_of(client: Client, scopes: Collection[str], names: Collection[str] = ()) -> list[Rule]:
    """Return the rules for a token with these scopes. Those of the client may need others.

    Args:
        names: standard claims that are asked for by name.

    All rules of one claim are of one level: those of the client, or else those for every client with one of the scopes,
    or else the standard ones.
    """
    own, for_all = registry.claim_mappings(client.client_id), registry.claim_mappings(None)
    standard = [rule for rule in STANDARD if rule.scope in scopes or rule.claim in names]
    standard += map(of_attribute, attributes.released(scopes))
    if not own and not for_all:
        return standard
    return _by_level(own, [rule for rule in for_all if rule.scope in scopes], standard)


def _by_level(*levels: Iterable[Rule]) -> list[Rule]:
    found: list[Rule] = []
    for level in levels:
        decided = {rule.claim for rule in found}
        found += [rule for rule in level if rule.claim not in decided]
    return found
