"""What a provider tells of a person, as our own claims (OpenID Connect Core section 5.1)."""

from collections.abc import Mapping
from typing import Any

from idp.accounts import profile
from idp.accounts.addresses import InvalidEmailError, is_same_spelling, normalise_email
from idp.federation.models import Upstream

#: Where each of our claims is found, at a provider that uses the standard's names.
STANDARD = {
    name: name
    for name in (
        "name", "given_name", "family_name", "middle_name", "nickname", "preferred_username", "profile", "picture",
        "website", "gender", "birthdate", "zoneinfo", "locale",
    )
}  # fmt: skip


def _value_at(claims: Any, path: str) -> Any:
    """What stands at a path such as ``address.country``."""
    for name in path.split("."):
        claims = claims.get(name) if isinstance(claims, dict) else None
    return claims


def claim_values(claims: dict[str, Any], path: str) -> set[str]:
    """The value or values of a claim, such as the groups that somebody is in."""
    found = _value_at(claims, path)
    return {str(value) for value in (found if isinstance(found, list) else [found]) if value not in (None, "")}


def map_claims(upstream: Upstream, claims: dict[str, Any], mapping: Mapping[str, str] = STANDARD) -> dict[str, str]:
    """Our claims of what a provider tells. What does not fit our rules for a profile is left out."""
    found = {name: _value_at(claims, path) for name, path in {**mapping, **upstream.claims}.items() if name != "email"}
    fitting = {name: profile.FIELDS[name](text.strip()) for name, text in found.items() if isinstance(text, str)}
    return {name: value for name, value in fitting.items() if value}


def is_verified_address(upstream: Upstream, claims: dict[str, Any]) -> bool:
    """Whether what the provider has verified is the address that is used.

    Of another claim ``email_verified`` says nothing, nor of an address that normalising made another one.
    """
    email = find_email(upstream, claims)
    return (
        email is not None
        and upstream.claims.get("email", "email") == "email"
        and is_same_spelling(claims["email"], email)
    )


def find_email(upstream: Upstream, claims: dict[str, Any]) -> str | None:
    """The address, normalised, if there is one."""
    text = _value_at(claims, upstream.claims.get("email", "email"))
    try:
        return normalise_email(text) if isinstance(text, str) else None
    except InvalidEmailError:
        return None
