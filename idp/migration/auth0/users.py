"""Users of a tenant, as records of an import."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from idp.config.kinds.base import RoleName
from idp.migration.auth0.representations import User
from idp.migration.models import Person

#: The issuers of identities, and the ids of their upstreams here.
ISSUERS: Final = {
    "google-oauth2": ("https://accounts.google.com", "google"),
    "github": ("https://github.com", "github"),
    "apple": ("https://appleid.apple.com", "apple"),
}


#: Marks an attribute with several values.
SEVERAL: Final = "[]"


class Known(NamedTuple):
    """What other files say of users: hashes by ``user_id``, and roles and organizations.

    ``attributes`` has the names of attributes by the paths of metadata, such as ``app_metadata.team``. The name of one
    with several values ends in :data:`SEVERAL`.
    """

    hashes: Mapping[str, str]
    roles: Mapping[str, Sequence[str]]
    organizations: Mapping[str, Sequence[str]]
    attributes: Mapping[str, str]


def translate(user: User, place: str, known: Known, lost: Counter[str]) -> Person:
    """Return a user.

    Args:
        lost: counts what is lost.
    """
    hash_ = known.hashes.get(user.user_id)
    values: dict[str, Any] = {
        "sub": user.user_id,
        "email": user.email,
        "email_verified": user.email_verified,
        "disabled": user.blocked,
        "preferred_username": user.username,
        "name": user.name if user.name != user.email else "",
        "given_name": user.given_name,
        "family_name": user.family_name,
        "nickname": user.nickname,
        "picture": user.picture if user.picture.startswith(("https://", "http://")) else "",
        "phone_number": user.phone_number,
        "phone_number_verified": user.phone_verified,
        "password_hash": hash_ or "",
        "identities": _identities(user, lost),
        "attributes": _attributes(user, known.attributes, lost),
    }
    if user.user_id.startswith("auth0|") and hash_ is None:
        lost["There is no password hash. Users sign in with a code by mail, or set a password."] += 1
    if user.multifactor:
        lost["Factors are not exported by Auth0. Users add them again."] += 1
    roles = [RoleName(name=name) for name in known.roles.get(user.user_id, ())]
    return Person(place, values, (), roles, known.organizations.get(user.user_id, ()))


def _identities(user: User, lost: Counter[str]) -> list[dict[str, str]]:
    found = []
    for one in user.identities:
        if one.provider in ISSUERS:
            issuer, upstream = ISSUERS[one.provider]
            found.append({"issuer": issuer, "subject": str(one.user_id), "upstream": upstream})
        elif one.provider not in ("auth0", "email"):
            lost[f"An account at {one.provider} is not linked, because the provider is not translated."] += 1
    return found


def _attributes(user: User, wanted: Mapping[str, str], lost: Counter[str]) -> dict[str, Any]:
    metadata = {"app_metadata": user.app_metadata, "user_metadata": user.user_metadata}
    found = {}
    for part, members in metadata.items():
        for name, value in members.items():
            attribute = wanted.get(f"{part}.{name}")
            if attribute is None:
                lost[f"{part}.{name} is not imported. Name an attribute for it with --attribute."] += 1
            elif isinstance(value, dict):
                lost[f"{part}.{name} is an object, which no attribute can have."] += 1
            else:
                values = [_text(each) for each in (value if isinstance(value, list) else [value])]
                several = attribute.endswith(SEVERAL)
                found[attribute.removesuffix(SEVERAL)] = values if several else ", ".join(values)
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
