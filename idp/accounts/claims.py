"""The standard claims about a user (OpenID Connect Core section 5.1)."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

import msgspec


class UserRow(Protocol):
    """A row of the table ``users``, of Piccolo, asyncpg or a struct that is subscriptable."""

    def __getitem__(self, name: str, /) -> Any: ...


#: The claims about the user by their scope (sections 5.1 and 5.4). All other lists of claims derive from this one.
CLAIMS_BY_SCOPE: Mapping[str, tuple[str, ...]] = {
    "profile": (
        "name",
        "family_name",
        "given_name",
        "middle_name",
        "nickname",
        "preferred_username",
        "profile",
        "picture",
        "website",
        "gender",
        "birthdate",
        "zoneinfo",
        "locale",
        "updated_at",
    ),
    "email": ("email", "email_verified"),
    "address": ("address",),
    "phone": ("phone_number", "phone_number_verified"),
}
#: The claims that tell whether another one was verified. If that one is empty, they are omitted too.
VERIFICATION_CLAIMS = {"email_verified": "email", "phone_number_verified": "phone_number"}
#: The text claims. Each is stored in the column of its name.
TEXT_CLAIMS = frozenset(claim for claims in CLAIMS_BY_SCOPE.values() for claim in claims) - {
    "address", "updated_at", *VERIFICATION_CLAIMS,
}  # fmt: skip
#: Claims with a meaning of their own in tokens and at userinfo. No claim about the user may have one of these names.
PROTECTED_CLAIMS = frozenset(
    {
        *("iss", "sub", "aud", "exp", "nbf", "iat", "jti", "azp", "nonce", "acr", "amr", "auth_time", "sid", "sub_id"),
        *("at_hash", "c_hash", "s_hash", "cnf", "act", "may_act", "client_id", "scope", "events", "txn", "typ"),
        *("authorization_details", "active", "token_type", "username", "status", "_claim_names", "_claim_sources"),
        *("token_introspection", "resource", "sub_jwk", "htm", "htu", "ath", "rt_hash", "auth_req_id", "session_state"),
        *("urn:openid:params:jwt:claim:rt_hash", "urn:openid:params:jwt:claim:auth_req_id", "verified_claims"),
    }
)
#: The claims of the directory (:mod:`idp.directory`) by their scope.
DIRECTORY_CLAIMS: Mapping[str, tuple[str, ...]] = {
    "groups": ("groups",),
    "roles": ("roles",),
    "organization": ("organization",),
}
#: The members of an address (section 5.1.1).
ADDRESS_MEMBERS = ("formatted", "street_address", "locality", "region", "postal_code", "country")


def claims_of(user: UserRow, names: Iterable[str]) -> dict[str, Any]:
    """Return the named claims of a user. Empty ones are omitted (section 5.3.2)."""
    values = {name: _claim(user, name) for name in names}
    return {name: value for name, value in values.items() if value not in (None, "", {})}


def _claim(user: UserRow, name: str) -> Any:
    if name in TEXT_CLAIMS:
        return user[name]
    if name in VERIFICATION_CLAIMS:
        return bool(user[name]) if user[VERIFICATION_CLAIMS[name]] else None
    if name == "updated_at":
        updated_at: datetime = user[name]
        return int(updated_at.timestamp())
    if name == "address":
        return _address(user[name])
    return None


def _address(stored: str | None) -> dict[str, str]:
    members = msgspec.json.decode(stored) if stored else {}
    return {name: members[name] for name in ADDRESS_MEMBERS if members.get(name)}
