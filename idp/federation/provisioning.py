"""Just-in-time provisioning: what the rules of an upstream give a user at a sign-in, and what they take.

All changes are in the transaction of the sign-in. A claim that the user does not have gives nothing, so what it gave
before is taken. A claim whose values are unknown changes nothing (docs/decisions/0079-just-in-time-provisioning.md).
"""

import unicodedata
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import structlog

from idp.accounts.attributes import repository, service
from idp.accounts.attributes.errors import InvalidValueError
from idp.accounts.attributes.models import Attribute, Type
from idp.accounts.attributes.registry import attributes
from idp.accounts.attributes.values import checked, parse_one
from idp.audit.events import record
from idp.directory import names, provisioned
from idp.directory.provisioned import Given
from idp.directory.repository import groups
from idp.federation.linking import ExternalIdentity
from idp.federation.models import ProvedClaims, Rule, Scalar, Upstream
from idp.federation.registry import upstreams
from idp.federation.rules import MAX_GROUPS, counts, text_of, uuid_or_none

log = structlog.get_logger()


async def apply(user_id: UUID, identity: ExternalIdentity) -> None:
    """Give a user what the claims of an identity give now, in the caller's transaction, which has locked the user."""
    upstream = upstreams.get(identity.upstream_id)
    if upstream is None:
        return
    unknown = {rule.claim for rule in upstream.rules if rule.claim not in identity.proved}
    given, too_many = await _groups(upstream, identity.proved)
    missing = await provisioned.replace(user_id, upstream.origin, given, _roles(upstream.rules, identity.proved))
    refused = await _change_attributes(user_id, upstream.rules, identity.proved)
    for kind, ids in (("group", missing.groups), ("role", missing.roles)):
        if ids:
            log.warning("upstream_rule_skipped", reason=f"A {kind} does not exist.", path=upstream.id, count=len(ids))
    problems = {"claims": sorted(unknown), "attributes": refused, "groups": too_many}
    problems = {name: found for name, found in problems.items() if found}
    if problems:
        detail = {"upstream": upstream.id, **problems}
        await record("provisioning_incomplete", outcome="failure", user_id=user_id, detail=detail)


def matching(rule: Rule, proved: ProvedClaims) -> list[Scalar]:
    """Return the values that count for a rule. Of an absent or unknown claim: none."""
    return [value for value in proved.get(rule.claim) or () if counts(rule, value)]


async def _groups(upstream: Upstream, proved: ProvedClaims) -> tuple[Given, int]:
    """Return the groups that the rules give, and their number if that is too many. Then nothing changes."""
    rules = [rule for rule in upstream.rules if rule.group is not None or rule.each]
    targets, kept = _targets(((rule, rule.group) for rule in rules), proved)
    named = {
        unicodedata.normalize("NFC", rule.group_prefix + text_of(value).removeprefix(rule.prefix or ""))
        for rule in rules
        if rule.each
        for value in matching(rule, proved)
    }
    keys = {names.key(name) for name in named if len(name) <= names.MAX_LENGTH}
    found = await groups.groups_by_names(keys) if keys else {}
    # Of the same name exactly: two names that are compared as one here may be two groups there.
    ids = targets | {group.id for group in found.values() if group.name in named}
    if len(ids) > MAX_GROUPS:
        log.warning("upstream_rule_skipped", reason="There are too many groups.", path=upstream.id, count=len(ids))
        return Given(kept=None), len(ids)
    unknown_names = any(rule.each and rule.claim not in proved for rule in rules)
    return Given(ids, None if unknown_names else kept), 0


def _roles(rules: Iterable[Rule], proved: ProvedClaims) -> Given:
    return Given(*_targets(((rule, rule.role) for rule in rules), proved))


def _targets(rules: Iterable[tuple[Rule, str | None]], proved: ProvedClaims) -> tuple[set[UUID], set[UUID]]:
    """Return the targets whose rules count a value, and those that a rule with an unknown claim may give."""
    ids, kept = set[UUID](), set[UUID]()
    for rule, target in rules:
        key = uuid_or_none(target) if target is not None else None
        if key is None:
            continue
        if matching(rule, proved):
            ids.add(key)
        elif rule.claim not in proved:
            kept.add(key)
    return ids, kept


async def _change_attributes(user_id: UUID, rules: Iterable[Rule], proved: ProvedClaims) -> list[str]:
    """Set attributes to the values of claims. Returns those whose values are refused; they stay as they are.

    An empty claim removes the values, an absent one does not: an administrator may have entered them.
    """
    given: dict[str, list[Scalar]] = {}
    for rule in rules:
        if rule.attribute is not None and proved.get(rule.claim) is not None:
            given.setdefault(rule.attribute, []).extend(matching(rule, proved))
    known = {name: attributes.get(name) for name in given}
    stored = await service.values(user_id) if given else {}
    if all(one is not None and _value(one, given[name]) == stored.get(name) for name, one in known.items()):
        return []
    declared = await repository.hold_attributes(given)
    changes: dict[str, Any] = {}
    refused = sorted(given.keys() - declared.keys())
    for name, attribute in declared.items():
        try:
            value = _value(attribute, given[name])
            checked(attribute, value)
        except InvalidValueError:
            refused.append(name)
        else:
            changes[name] = value
    if changes:
        await service.change(user_id, changes)
    return sorted(refused)


def _value(attribute: Attribute, values: list[Scalar]) -> Any:
    """Return the values of a claim as JSON of an attribute."""
    text = attribute.type in (Type.STRING, Type.CHOICE)
    shaped = [
        text_of(one) if text else parse_one(attribute.type, one) if isinstance(one, str) else one for one in values
    ]
    shaped = list(dict.fromkeys(shaped))
    if len(shaped) > 1 or (attribute.multivalued and shaped):
        return shaped
    return shaped[0] if shaped else None
