"""Just-in-time provisioning: what the rules of an upstream give a user at a sign-in, and what they take.

All changes are in the transaction of the sign-in. A claim that the user does not have gives nothing, so what it gave
before is taken. A claim whose values are unknown changes nothing (docs/decisions/0079-just-in-time-provisioning.md).
"""

import unicodedata
from collections.abc import Iterable
from uuid import UUID

import structlog

from idp.accounts.attributes import provisioned as attributes
from idp.accounts.attributes.provisioned import text_of
from idp.audit.events import record
from idp.directory import names, organizations, provisioned
from idp.directory.provisioned import Given
from idp.directory.repository import groups
from idp.directory.repository import organizations as organization_repository
from idp.federation.linking import ExternalIdentity
from idp.federation.models import ProvedClaims, Rule, Scalar, Upstream
from idp.federation.registry import upstreams
from idp.federation.rules import MAX_GROUPS, counts
from idp.ids import uuid_or_none

log = structlog.get_logger()


async def apply(user_id: UUID, identity: ExternalIdentity) -> None:
    """Give a user what the claims of an identity give now, in the caller's transaction, which has locked the user."""
    upstream = upstreams.get(identity.upstream_id)
    if upstream is None:
        return
    if upstream.adds_members:
        await _add_member(user_id, upstream)
    unknown = {rule.claim for rule in upstream.rules if rule.claim not in identity.proved}
    given, too_many = await _groups(upstream, identity.proved)
    missing = await provisioned.replace(user_id, upstream.origin, given, _roles(upstream.rules, identity.proved))
    values, kept = _attributes(upstream.rules, identity.proved)
    refused = await attributes.replace(user_id, upstream.origin, values, kept)
    for kind, ids in (("group", missing.groups), ("role", missing.roles)):
        if ids:
            log.warning("upstream_rule_skipped", reason=f"A {kind} does not exist.", path=upstream.id, count=len(ids))
    problems = {"claims": sorted(unknown), "attributes": refused, "groups": too_many}
    problems = {name: found for name, found in problems.items() if found}
    if problems:
        detail = {"upstream": upstream.id, **problems}
        await record("provisioning_incomplete", outcome="failure", user_id=user_id, detail=detail)


async def _add_member(user_id: UUID, upstream: Upstream) -> None:
    """Make a user a member of the organization of an upstream, which the caller holds."""
    key = upstream.organization_id
    if key is not None and not await organization_repository.members_among(key, [user_id]):
        await organizations.add_members(key, [user_id], upstream.origin)


def matching(rule: Rule, proved: ProvedClaims) -> list[Scalar]:
    """Return the values that count for a rule. Of an absent or unknown claim: none."""
    return [value for value in proved.get(rule.claim, ()) if counts(rule, value)]


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


def _attributes(rules: Iterable[Rule], proved: ProvedClaims) -> tuple[dict[str, list[Scalar]], set[str]]:
    """Return the values of attributes, and the attributes that a rule with an unknown claim may give."""
    given: dict[str, list[Scalar]] = {}
    kept = set[str]()
    for rule in rules:
        if rule.attribute is not None and rule.claim in proved:
            given.setdefault(rule.attribute, []).extend(matching(rule, proved))
        elif rule.attribute is not None:
            kept.add(rule.attribute)
    # Some of the values alone would remove the others.
    return {name: values for name, values in given.items() if name not in kept}, kept
