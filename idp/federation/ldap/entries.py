"""Reads the entry of a user: identity, address, claims, and whether the account may be used."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from idp.accounts.addresses import InvalidEmailError, is_same_spelling, normalise_email
from idp.federation import claims_mapping
from idp.federation.claims_mapping import claim_values
from idp.federation.ldap import active_directory
from idp.federation.ldap.connection import Entry
from idp.federation.ldap.logins import normalise
from idp.federation.ldap.options import Directory
from idp.federation.ldap.problems import Problem

#: The claim that holds the groups.
GROUPS: Final = "groups"
#: Our claims and the attributes that have them (RFC 4519, RFC 2798).
CLAIMS: Final = {
    "email": "mail",
    "name": "displayName",
    "given_name": "givenName",
    "family_name": "sn",
    "locale": "preferredLanguage",
}
#: The attribute for the name of a user without displayName, and those that lock an account for good.
_NAME, _LOCKS = "cn", ("pwdAccountLockedTime", "nsAccountLock")
#: The value of pwdAccountLockedTime that an administrator sets.
_LOCKED_FOR_GOOD = "000001010000Z"
_GUID_BYTES = 16
_MAX_ID_LENGTH = 200


def attributes(directory: Directory) -> list[str]:
    """Return the attributes of a user to request. Operational ones must be named."""
    upstream = directory.upstream
    wanted = {directory.id_attribute, _NAME, *directory.login_attributes, *_mapping(directory).values(), *_LOCKS}
    wanted |= {rule.claim for rule in upstream.rules} | set(upstream.required_claims)
    wanted |= {"memberOf": {"memberOf"}, "memberUid": {"uid"}}.get(directory.option("groups"), set())
    if directory.is_active_directory:
        wanted |= set(active_directory.ATTRIBUTES)
    return sorted(wanted - {GROUPS})


def attributes_of_state(directory: Directory) -> list[str]:
    """Return the attributes that :func:`subject`, :func:`problem_of` and requirements read, without groups."""
    more = active_directory.ATTRIBUTES if directory.is_active_directory else ()
    required = directory.upstream.required_claims.keys() - {GROUPS}
    return [directory.id_attribute, *_LOCKS, *more, *sorted(required)]


def wants_groups(directory: Directory) -> bool:
    """Return whether the groups of users are needed: a rule or a requirement reads them."""
    readers = {rule.claim for rule in directory.upstream.rules} | directory.upstream.required_claims.keys()
    return GROUPS in readers and directory.option("groups") != "none"


def requires_groups(directory: Directory) -> bool:
    """Return whether a user must be in a group to sign in."""
    return GROUPS in directory.upstream.required_claims


def meets_requirements(directory: Directory, values: dict[str, Any], *, groups: bool = True) -> bool:
    """Return whether a user has one of the required values of each claim.

    Args:
        values: as :func:`for_rules` returns them.
        groups: False: whatever groups the user is in.
    """
    required = directory.upstream.required_claims.items()
    return all(claim_values(values, name) & set(allowed) for name, allowed in required if groups or name != GROUPS)


def _mapping(directory: Directory) -> dict[str, str]:
    own = {"preferred_username": directory.login_attributes[0]}
    return {**CLAIMS, **own, **directory.upstream.claims}


def subject(directory: Directory, entry: Entry) -> str | None:
    """Return what identifies a user for good. None: the entry has no such value, or several."""
    values = entry.values(directory.id_attribute)
    if len(values) != 1:
        return None
    if directory.id_attribute.lower() == "objectguid":
        # Its first three parts are little-endian.
        return str(UUID(bytes_le=values[0])) if len(values[0]) == _GUID_BYTES else None
    text = next(iter(entry.texts(directory.id_attribute)), "")
    return text if 0 < len(text) <= _MAX_ID_LENGTH and text.isprintable() else None


def id_value(directory: Directory, subject: str) -> bytes:
    """Return the value of the attribute that identifies a user, from what :func:`subject` returned."""
    return UUID(subject).bytes_le if directory.id_attribute.lower() == "objectguid" else subject.encode()


def has_login(directory: Directory, entry: Entry, entered: str) -> bool:
    """Return whether a user signs in by this, compared by our rules and not by those of the directory."""
    return any(normalise(text) == entered for name in directory.login_attributes for text in entry.texts(name))


def problem_of(directory: Directory, entry: Entry) -> Problem | None:
    """Return why the account may not be used. Directories check that at a bind, too."""
    if directory.is_active_directory and (found := active_directory.problem_of(entry)) is not None:
        return found
    locked = _LOCKED_FOR_GOOD in entry.texts(_LOCKS[0]) or "true" in map(str.lower, entry.texts(_LOCKS[1]))
    return Problem.DISABLED if locked else None


def claims(directory: Directory, entry: Entry) -> dict[str, str]:
    """Return standard claims. Of several values the first in order of the text, so that it is always the same."""
    found: dict[str, Any] = {}
    for name, attribute in _mapping(directory).items():
        texts = sorted(entry.texts(attribute))
        if not texts and name == "name" and name not in directory.upstream.claims:
            texts = sorted(entry.texts(_NAME))
        if texts:
            found[name] = texts[0]
    return claims_mapping.map_claims(directory.upstream, found, {name: name for name in found})


def email(directory: Directory, entry: Entry) -> tuple[str | None, bool]:
    """Return the address of a user, and whether it counts as verified: the operator trusts those of its domain."""
    found = []
    for text in sorted(entry.texts(_mapping(directory)["email"])):
        try:
            address = normalise_email(text)
        except InvalidEmailError:
            continue
        trusted = directory.upstream.trust_email and address.rpartition("@")[2] in directory.email_domains
        found.append((address, trusted and is_same_spelling(text, address)))
    return next((each for each in found if each[1]), found[0] if found else (None, False))


def for_rules(directory: Directory, entry: Entry, groups: Sequence[str] | None) -> dict[str, Any]:
    """Return the claims that rules and requirements read.

    Args:
        groups: None: they are unknown.
    """
    readers = {rule.claim for rule in directory.upstream.rules} | directory.upstream.required_claims.keys()
    found: dict[str, Any] = {name: entry.texts(name) for name in readers if name != GROUPS}
    # As a provider says that a claim exists whose values it did not send (OpenID Connect Core section 5.6.2).
    return found | ({GROUPS: list(groups)} if groups is not None else {"_claim_names": {GROUPS: "ldap"}})
