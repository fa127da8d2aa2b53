"""Users of a realm, as records of an import."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from idp.config.kinds.base import RoleName
from idp.migration.keycloak import credentials
from idp.migration.keycloak.attributes import STANDARD
from idp.migration.keycloak.directory import Directory, named
from idp.migration.keycloak.representations import Composites, User
from idp.migration.models import Person


class Known(NamedTuple):
    """What is translated: attributes and upstreams by their names in Keycloak, and the directory."""

    attributes: Mapping[str, Mapping[str, Any]]
    upstreams: Mapping[str, tuple[str, str]]
    directory: Directory


def translate(user: User, place: str, known: Known, lost: Counter[str]) -> Person | None:
    """Return a user; None: it is the account of a client.

    Args:
        lost: counts what is lost.
    """
    directory = known.directory
    if user.service_account_client_id:
        if {*_roles(user)} & {*directory.roles}:
            lost["A service account has roles. Tokens of clients have scopes here, and no roles."] += 1
        return None
    values = {
        "sub": user.id,
        "email": user.email,
        "email_verified": user.email_verified,
        "disabled": not user.enabled,
        "preferred_username": user.username,
        "given_name": user.first_name,
        "family_name": user.last_name,
        "name": " ".join(filter(None, (user.first_name, user.last_name))),
        "identities": _identities(user, known.upstreams, lost),
    }
    values |= _attributes(user, known.attributes, lost) | credentials.read(user.credentials, lost)
    for action in user.required_actions:
        lost[_ACTIONS.get(action, f"The required action {action} has no counterpart.")] += 1
    if user.username.casefold() not in ("", user.email.casefold()):
        lost["The user signs in with the email address here, not with the user name."] += 1
    if user.client_consents:
        lost["Consents are not imported. Users are asked again."] += 1
    if user.federation_link:
        lost["The user comes from a user storage, which has the password."] += 1
    groups = [directory.groups[path] for path in user.groups if path in directory.groups]
    roles = [role for role in _roles(user) if role in directory.roles]
    return Person(place, values, groups, roles, directory.organizations.get(user.username, ()))


#: What becomes of required actions.
_ACTIONS = {
    "VERIFY_EMAIL": "The address is not verified (VERIFY_EMAIL). Users verify it at their next sign-in by email.",
    "UPDATE_PASSWORD": "The password must be changed there (UPDATE_PASSWORD). Here it is not enforced.",
    "CONFIGURE_TOTP": "An app must be set up there (CONFIGURE_TOTP). Here an access policy can ask for it.",
}


def _roles(user: User) -> Collection[RoleName]:
    return named(Composites(realm=user.realm_roles, client=user.client_roles))


def _identities(user: User, upstreams: Mapping[str, tuple[str, str]], lost: Counter[str]) -> list[dict[str, str]]:
    found = []
    for one in user.federated_identities:
        if one.identity_provider in upstreams:
            issuer, upstream = upstreams[one.identity_provider]
            found.append({"issuer": issuer, "subject": one.user_id, "upstream": upstream})
        else:
            lost[f"An account at {one.identity_provider} is not linked, because the provider is not translated."] += 1
    return found


def _attributes(user: User, declared: Mapping[str, Mapping[str, Any]], lost: Counter[str]) -> dict[str, Any]:
    """Return standard claims, and the values of declared attributes."""
    found: dict[str, Any] = {}
    attributes: dict[str, Any] = {}
    for name, given in user.attributes.items():
        values = [str(each) for each in (given if isinstance(given, list) else [given]) if str(each)]
        if not values:
            continue
        if name in STANDARD:
            found[STANDARD[name]] = values[0]
        elif name not in declared:
            lost[f"The attribute {name} is in no user profile and no mapper, and is not imported."] += 1
        else:
            several = declared[name]["multivalued"]
            attributes[declared[name]["name"]] = values if several else values[0]
            if len(values) > 1 and not several:
                lost[f"The attribute {name} has several values, and only the first is imported."] += 1
    return found | ({"attributes": attributes} if attributes else {})
