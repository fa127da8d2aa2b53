"""Maps the claims of a provider to standard claims (OpenID Connect Core section 5.1)."""

from collections.abc import Mapping
from typing import Any

from idp.accounts import profile
from idp.accounts.addresses import InvalidEmailError, is_same_spelling, normalise_email
from idp.federation.models import Upstream

#: The default mapping from our claims to paths in the provider's claims: the same names.
STANDARD = {
    name: name
    for name in (
        "name", "given_name", "family_name", "middle_name", "nickname", "preferred_username", "profile", "picture",
        "website", "gender", "birthdate", "zoneinfo", "locale",
    )
}  # fmt: skip


def _value_at(claims: Any, path: str) -> Any:
    """Return the value at a path such as ``address.country``."""
    for name in path.split("."):
        claims = claims.get(name) if isinstance(claims, dict) else None
    return claims


def claim_values(claims: dict[str, Any], path: str) -> set[str]:
    """Return the values of a claim as a set of strings. A single value is a set of one."""
    found = _value_at(claims, path)
    return {str(value) for value in (found if isinstance(found, list) else [found]) if value not in (None, "")}


def map_claims(upstream: Upstream, claims: dict[str, Any], mapping: Mapping[str, str] = STANDARD) -> dict[str, str]:
    """Map claims. Values that the profile does not accept are omitted."""
    found = {name: _value_at(claims, path) for name, path in {**mapping, **upstream.claims}.items() if name != "email"}
    fitting = {name: profile.FIELDS[name](text.strip()) for name, text in found.items() if isinstance(text, str)}
    return {name: value for name, value in fitting.items() if value}


def is_verified_address(upstream: Upstream, claims: dict[str, Any]) -> bool:
    """Return whether ``email_verified`` is about the address that :func:`find_email` returns.

    It is not if the address comes from another claim, or if normalisation changed it.
    """
    email = find_email(upstream, claims)
    return (
        email is not None
        and upstream.claims.get("email", "email") == "email"
        and is_same_spelling(claims["email"], email)
    )


def find_email(upstream: Upstream, claims: dict[str, Any]) -> str | None:
    """Return the normalised address, or None if there is no valid one."""
    text = _value_at(claims, upstream.claims.get("email", "email"))
    try:
        return normalise_email(text) if isinstance(text, str) else None
    except InvalidEmailError:
        return None
