"""What tokens and responses of a client would say about a user, and why: the evaluation without issuing anything."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from idp.accounts.attributes.models import Audience
from idp.accounts.attributes.registry import attributes
from idp.accounts.claims import DIRECTORY_CLAIMS
from idp.accounts.repository.users import user_by_id
from idp.directory import organizations
from idp.errors import NotFoundError
from idp.oauth.authorize.organizations import without_name
from idp.oauth.claims.evaluation import Asked, Why, claims, evaluated, profile_claims, why_not
from idp.oauth.claims.flat import summary
from idp.oauth.claims.models import ClaimMapping, Place, Rule
from idp.oauth.claims.rules import STANDARD, of_attribute, rules_of
from idp.oauth.claims.sources import Attribute
from idp.oauth.claims.user import ClaimUser
from idp.oauth.clients.models import Client
from idp.oauth.clients.registration import UnknownClientError
from idp.oauth.clients.registry import registry
from idp.oauth.clients.repository import find_client
from idp.oauth.resources import default_scope
from idp.oauth.scopes import ORGANIZATION, SCOPE_OF_CLAIM
from idp.oauth.token_hook.answers import DeniedError
from idp.oauth.token_hook.calls import HookFailedError
from idp.oauth.token_hook.models import NOTHING, Added
from idp.oauth.token_hook.service import Question, hook_for
from idp.oauth.token_hook.service import asked as asked_of

_TOKEN_HOOK = "token hook"

#: Why a claim is there, or is not, in words.
WORDS = {
    Why.INCLUDED: "included",
    Why.SCOPE_NOT_REQUESTED: "its scope is not requested",
    Why.SCOPE_NOT_ALLOWED: "the client is not registered for its scope",
    Why.NOT_IN_THIS_PLACE: "no mapping puts it here",
    Why.RESOURCE_SERVER_DOES_NOT_ASK: "no resource server of the token has the scope among its own",
    Why.ONLY_AT_USERINFO: "at userinfo only: the ID tokens of the client are small",
    Why.REPLACED: "another mapping of the claim, or the token hook, comes first",
    Why.NO_MAPPING: "no scope and no mapping has it",
    Why.USER_HAS_NONE: "the user has none",
    Why.FILTERED_OUT: "the filter of the mapping leaves nothing of what the user has",
    Why.ABOVE_LIMIT: "more than IDP_MAX_GROUPS_IN_TOKEN: left out",
}


class UnknownUserError(NotFoundError):
    """There is no such user."""

    def __init__(self) -> None:
        super().__init__("There is no such user.")


class ExplainedClaim(msgspec.Struct, frozen=True, kw_only=True):
    """A claim in one place, and why it is there or not.

    Attributes:
        source: what it is made of; None: the profile, or nothing.
        mapping_id: the mapping; None: a scope.
        hidden: whether it is there, but its value may not be shown to whoever asks.
    """

    place: Place
    claim: str
    why: Why
    value: Any = None
    scope: str | None = None
    source: str | None = None
    mapping_id: UUID | None = None
    hidden: bool = False


class HookAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of the token hook of the client.

    Attributes:
        result: ``answered``, ``denied`` or why it gave no answer (:class:`~idp.oauth.token_hook.models.Failure`).
        said: the reason of a denial.
        issued: whether tokens would be issued.
    """

    result: str
    said: str = ""
    issued: bool = True


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What a client would get.

    Attributes:
        scope: the scopes that it would get.
        resource: the resource servers that the access token would be for.
        notes: what is special about the client, the user or the request, as sentences.
        content: the claims about the user in each place; without an ID token or userinfo unless ``openid`` is asked.
        explained: every claim of a scope, a mapping or the token hook, with the reason.
        hook: what the token hook says; None: there is none, or it was not asked.
    """

    scope: str
    resource: list[str]
    notes: list[str]
    content: dict[str, dict[str, Any]]
    explained: list[ExplainedClaim]
    hook: HookAnswer | None = None


async def preview(
    client_id: str,
    user_id: UUID,
    *,
    scope: Sequence[str] = (),
    resource: Sequence[str] = (),
    names: Collection[str] = (),
    audience: Audience = Audience.OWNER,
    ask_hook: bool = False,
) -> Preview:
    """Return what a client would get about a user.

    Args:
        scope: the scopes of the request; empty: as of a request without ``scope``. One such as ``organization:acme``
            says what the user signs in for.
        resource: the resource servers of the request.
        names: claims to explain even if nothing has them.
        audience: who asks, and so may not see each attribute.
        ask_hook: call the token hook of the client too.

    Raises:
        UnknownClientError: there is no such client.
        UnknownUserError: there is no such user.
        UnknownOrganizationError: there is no such organization.
    """
    client, row = await find_client(client_id), await user_by_id(user_id)
    if client is None:
        raise UnknownClientError("There is no client with this id.")
    if row is None:
        raise UnknownUserError
    within = registry.within_ceiling(client)
    organization_id = await _organization(scope)
    asked_scope = tuple(map(without_name, scope)) or default_scope(within, resource)
    granted = tuple(name for name in dict.fromkeys(asked_scope) if name in within.scopes)
    servers = tuple(map(registry.identifier, resource)) or registry.audience(within, granted)
    refused = [name for name in asked_scope if name not in within.scopes]
    notes = {
        "The client is disabled.": client.disabled_at is not None,
        "The user is disabled.": row.disabled_at is not None,
        f"The client is not registered for: {' '.join(refused)}.": bool(refused),
        "Without the scope openid there is no ID token, and no userinfo.": "openid" not in granted,
    }
    hook, added = None, NOTHING
    if ask_hook:
        user = ClaimUser(user_id, row=row, organization_id=organization_id)
        places = tuple(_places(granted))
        hook, added = await _ask_hook(
            Question(client=within, user=user, at="preview", places=places, scopes=granted, resource=servers)
        )
        notes["The client has no token hook that is asked about these."] = hook is None
    content, explained = dict[str, dict[str, Any]](), list[ExplainedClaim]()
    for place in _places(granted):
        asked = _asked(place, within, granted, servers)
        # Without what was read before: a change meanwhile would mix two states.
        user = ClaimUser(user_id, row=row, organization_id=organization_id, added=added)
        hidden = _hidden(asked, audience)
        content[place] = {name: value for name, value in (await claims(asked, user)).items() if name not in hidden}
        explained += [_concealed(each, hidden) for each in await _explain(asked, user, names, added.get(place, {}))]
    return Preview(
        scope=" ".join(granted),
        resource=list(servers),
        notes=[text for text, holds in notes.items() if holds],
        content=content,
        explained=explained,
        hook=hook,
    )


async def _ask_hook(question: Question) -> tuple[HookAnswer | None, Added]:
    """Call the token hook. Nothing follows from what it says."""
    hook = hook_for(question.client, question.places)
    if hook is None:
        return None, NOTHING
    try:
        return HookAnswer(result="answered"), await asked_of(hook, question)
    except DeniedError as denied:
        return HookAnswer(result="denied", said=str(denied), issued=False), NOTHING
    except HookFailedError as failed:
        return HookAnswer(result=failed.failure, issued=hook.fail_open), NOTHING


async def _organization(scope: Sequence[str]) -> UUID | None:
    """Return the organization that a scope names."""
    prefix = f"{ORGANIZATION}:"
    names = [name.removeprefix(prefix) for name in scope if name.startswith(prefix)]
    return (await organizations.named(names[0])).id if names else None


def _places(scopes: Collection[str]) -> Iterable[Place]:
    return Place if "openid" in scopes else (Place.ACCESS_TOKEN, Place.INTROSPECTION)


def _asked(place: Place, client: Client, scopes: Sequence[str], resource: Sequence[str]) -> Asked:
    return Asked(
        place=place,
        client=client,
        scopes=scopes,
        resource=resource,
        profile=place is Place.USERINFO or (place is Place.ID_TOKEN and client.scope_claims_in_id_token),
        reaches_userinfo="openid" in scopes,
    )


def _hidden(asked: Asked, audience: Audience) -> set[str]:
    """Return the claims with attributes that the audience does not see."""
    visible = {attribute.name for attribute in attributes.visible(audience)}
    rules = rules_of(asked.client, asked.scopes)
    return {rule.claim for rule in rules if isinstance(rule.source, Attribute) and rule.source.name not in visible}


def _concealed(claim: ExplainedClaim, hidden: Collection[str]) -> ExplainedClaim:
    if claim.claim not in hidden or claim.value is None:
        return claim
    return msgspec.structs.replace(claim, value=None, hidden=True)


async def _explain(
    asked: Asked, user: ClaimUser, names: Collection[str], added: Mapping[str, Any]
) -> list[ExplainedClaim]:
    """Return every claim that a rule, the profile or the token hook may have in this place, and those named."""
    by_hook = [
        ExplainedClaim(place=asked.place, claim=name, why=Why.INCLUDED, value=value, source=_TOKEN_HOOK)
        for name, value in added.items()
    ]
    others = await _explain_rules(asked, user, [name for name in names if name not in added])
    return by_hook + [_explained_again(each, added) for each in others]


def _explained_again(claim: ExplainedClaim, added: Mapping[str, Any]) -> ExplainedClaim:
    """Return a claim as replaced, if the token hook has it too."""
    if claim.claim not in added or claim.why is not Why.INCLUDED:
        return claim
    return msgspec.structs.replace(claim, why=Why.REPLACED, value=None)


async def _explain_rules(asked: Asked, user: ClaimUser, names: Collection[str]) -> list[ExplainedClaim]:
    found = [await _by_rule(rule, asked, user) for rule in rules_of(asked.client, asked.scopes, asked.names)]
    active = {(each.claim, each.mapping_id) for each in found}
    decided = {each.claim for each in found}
    for rule in _all_rules(asked.client):
        if (rule.claim, _id(rule)) not in active:
            why = Why.REPLACED if rule.claim in decided else _why_no_scope(rule.scope, asked.client)
            found.append(_explained(rule, asked, why))
    profile = await profile_claims(asked.names, user) if asked.names else {}
    ruled = {each.claim for each in found if each.why is Why.INCLUDED}
    for name in asked.names:
        if name not in ruled and name not in DIRECTORY_CLAIMS:
            why = Why.INCLUDED if name in profile else Why.USER_HAS_NONE
            found.append(ExplainedClaim(place=asked.place, claim=name, why=why, value=profile.get(name)))
    known = {each.claim for each in found}
    missing = dict.fromkeys(name for name in names if name not in known)
    return found + [ExplainedClaim(place=asked.place, claim=name, why=_why_missing(name, asked)) for name in missing]


async def _by_rule(rule: Rule, asked: Asked, user: ClaimUser) -> ExplainedClaim:
    why = why_not(rule, asked)
    if why is Why.SCOPE_NOT_REQUESTED:
        why = _why_no_scope(rule.scope, asked.client)
    if why is not None:
        return _explained(rule, asked, why)
    value, why = await evaluated(rule, asked, user)
    return _explained(rule, asked, why, value)


def _explained(rule: Rule, asked: Asked, why: Why, value: Any = None) -> ExplainedClaim:
    return ExplainedClaim(
        place=asked.place,
        claim=rule.claim,
        why=why,
        value=value,
        scope=rule.scope,
        source=summary(rule.source),
        mapping_id=_id(rule),
    )


def _id(rule: Rule) -> UUID | None:
    return rule.id if isinstance(rule, ClaimMapping) else None


def _all_rules(client: Client) -> list[Rule]:
    """Return all rules that could concern a client, whatever the scopes."""
    mappings = (*registry.claim_mappings(client.client_id), *registry.claim_mappings(None))
    with_scope = [of_attribute(attribute) for attribute in attributes.all() if attribute.scope is not None]
    return [*mappings, *STANDARD, *with_scope]


def _why_no_scope(scope: str | None, client: Client) -> Why:
    return Why.SCOPE_NOT_REQUESTED if scope in client.scopes else Why.SCOPE_NOT_ALLOWED


def _why_missing(name: str, asked: Asked) -> Why:
    """Return why nothing has a claim in this place."""
    scope = SCOPE_OF_CLAIM.get(name)
    if scope is None:
        return Why.NO_MAPPING
    if scope not in asked.scopes:
        return _why_no_scope(scope, asked.client)
    return Why.ONLY_AT_USERINFO if asked.place is Place.ID_TOKEN else Why.NOT_IN_THIS_PLACE
