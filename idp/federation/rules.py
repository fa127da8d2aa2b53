"""Rules of an upstream: what is valid, which claims they read, and which values of a claim count."""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

import msgspec
import structlog

from idp.accounts.attributes import repository as attributes
from idp.accounts.attributes.provisioned import text_of
from idp.directory import names
from idp.directory.repository import groups, roles
from idp.federation.errors import InvalidUpstreamError
from idp.federation.models import ProvedClaims, Rule, Scalar
from idp.ids import uuid_or_none

log = structlog.get_logger()

MAX_RULES = 100
#: Maximum number of values that count of one claim, and of groups that one sign-in gives.
MAX_VALUES = MAX_GROUPS = 500
#: Maximum length of the members of a rule, and of a value in characters.
MAX_LENGTH, MAX_VALUE_LENGTH = 200, 1000
_MAX_NUMBER = 2**53 - 1
_CLAIM = re.compile(r"[!-~]{1,200}")

# What is valid


def check(rules: tuple[Rule, ...]) -> None:
    """Check the form of rules.

    Raises:
        InvalidUpstreamError: a rule is not valid.
    """
    if len(rules) > MAX_RULES:
        raise InvalidUpstreamError(f"There can be at most {MAX_RULES} rules.")
    for rule in rules:
        _check(rule)


def _check(rule: Rule) -> None:
    if not _CLAIM.fullmatch(rule.claim):
        raise InvalidUpstreamError("The claim of a rule must be a name or a path, such as realm_access.roles.")
    targets = (rule.group, rule.role, rule.attribute)
    if [bool(target) for target in targets].count(True) + rule.each != 1:
        raise InvalidUpstreamError("A rule has a group, a role, an attribute or each, and only one of them.")
    if rule.equals is not None and (rule.prefix is not None or rule.each):
        raise InvalidUpstreamError("A rule has equals, prefix or each. Only prefix and each go together.")
    if (rule.group or rule.role) and rule.equals is None and rule.prefix is None:
        raise InvalidUpstreamError("A rule with a group or a role needs equals or prefix.")
    if (rule.group_prefix and not rule.each) or (rule.client_id is not None and not rule.role):
        raise InvalidUpstreamError("A rule has group_prefix only with each, and client_id only with a role.")
    texts = (rule.equals, rule.prefix, *targets, rule.client_id)
    if not all(text is None or _is_line(text) for text in texts) or (rule.each and len(rule.group_prefix) > MAX_LENGTH):
        raise InvalidUpstreamError(f"The members of a rule must be text of 1 to {MAX_LENGTH} visible characters.")


def _is_line(text: str) -> bool:
    return 0 < len(text) <= MAX_LENGTH and text.isprintable()


async def resolve(rules: Iterable[Rule], known: Iterable[Rule] = ()) -> tuple[Rule, ...]:
    """Return rules with the ids of the groups and roles that they name.

    Args:
        known: rules that are stored already. What they name may have been deleted since.

    Raises:
        InvalidUpstreamError: a group, a role or an attribute does not exist.
    """
    stored = frozenset(known)
    return tuple([rule if rule in stored else await _resolved(rule) for rule in rules])


async def _resolved(rule: Rule) -> Rule:
    if rule.group is not None:
        return msgspec.structs.replace(rule, group=str(await _group(rule.group)))
    if rule.role is not None:
        return msgspec.structs.replace(rule, role=str(await _role(rule.role, rule.client_id)), client_id=None)
    if rule.attribute is not None and not await attributes.hold_attributes([rule.attribute]):
        raise InvalidUpstreamError(f"There is no attribute {rule.attribute}.")
    return rule


async def _group(name: str) -> UUID:
    found = await groups.group_by_name(names.key(name))
    if found is None and (key := uuid_or_none(name)) is not None:
        found = await groups.group_by_id(key)
    if found is None:
        raise InvalidUpstreamError(f"There is no group {name}.")
    return found.id


async def _role(name: str, client_id: str | None) -> UUID:
    found = await roles.role_by_name(client_id, names.key(name))
    if found is None and (key := uuid_or_none(name)) is not None:
        found = await roles.role_by_id(key)
    if found is None:
        raise InvalidUpstreamError(f"There is no role {name}.")
    if found.organization_id is not None:
        raise InvalidUpstreamError("A role of an organisation is given to its members only, not by an upstream.")
    return found.id


# Which claims they read


def read(rules: Iterable[Rule], claims: Mapping[str, Any], *, complete: bool = True) -> ProvedClaims:
    """Return the values of the claims that rules read, without those that no rule counts.

    Args:
        claims: of a verified ID token or of userinfo.
        complete: False: claims may be missing here that the user has.
    """
    by_claim: dict[str, list[Rule]] = {}
    for rule in rules:
        by_claim.setdefault(rule.claim, []).append(rule)
    found: dict[str, tuple[Scalar, ...]] = {}
    for path, readers in by_claim.items():
        value = value_at(claims, path)
        if value in (None, ""):
            if complete and not _is_elsewhere(claims, path):
                found[path] = ()
            else:
                log.warning("upstream_claim_unknown", reason="It is not in the token.", path=path)
            continue
        values = {text_of(one): one for one in _scalars(value if isinstance(value, list) else [value])}
        counting = tuple(one for one in values.values() if any(counts(rule, one) for rule in readers))
        if len(counting) <= MAX_VALUES:
            found[path] = counting
        else:
            log.warning("upstream_claim_unknown", reason="It has too many values.", path=path, count=len(counting))
    return found


def lacking(rules: Iterable[Rule], claims: Mapping[str, Any]) -> bool:
    """Return whether a claim that rules read is not among these."""
    return any(value_at(claims, rule.claim) is None for rule in rules)


def value_at(claims: Any, path: str) -> Any:
    """Return the value of a claim: of this name, which may have dots as in a URL, or at this path."""
    if isinstance(claims, Mapping) and path in claims:
        return claims[path]
    for name in path.split("."):
        claims = claims.get(name) if isinstance(claims, Mapping) else None
    return claims


def _is_elsewhere(claims: Mapping[str, Any], path: str) -> bool:
    """Return whether the provider says that the user has a claim, without its values.

    A reference to where they are (OpenID Connect Core section 5.6.2), as Entra ID sends for users of many groups.
    """
    names_ = claims.get("_claim_names")
    named = isinstance(names_, Mapping) and not names_.keys().isdisjoint((path, path.partition(".")[0]))
    return named or (path == "groups" and claims.get("hasgroups") in (True, "true"))


def _scalars(values: Iterable[Any]) -> Iterable[Scalar]:
    for value in values:
        match value:
            case str() if 0 < len(value) <= MAX_VALUE_LENGTH and value.isprintable():
                yield value
            case bool():
                yield value
            # NaN compares as false.
            case int() | float() if abs(value) <= _MAX_NUMBER:
                yield value


# Which values count


def counts(rule: Rule, value: Scalar) -> bool:
    """Return whether a value counts for a rule."""
    text = text_of(value)
    if rule.equals is not None:
        return text == rule.equals
    return text.startswith(rule.prefix or "") and (not rule.each or bool(text.removeprefix(rule.prefix or "")))
