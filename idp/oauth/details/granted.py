"""Authorization details that were granted: comparing, narrowing and selecting them (RFC 9396 sections 6 and 7)."""

import json
from collections.abc import Collection, Iterable
from typing import Any

import msgspec

from idp.errors import OAuthError
from idp.oauth.clients.registry import registry
from idp.oauth.details.models import Detail, Details

#: The common members that are lists of what is allowed (section 2.2). A shorter list allows less.
LISTS = frozenset({"locations", "actions", "datatypes", "privileges"})


def invalid(description: str) -> OAuthError:
    """RFC 9396 section 5."""
    return OAuthError("invalid_authorization_details", description)


def encoded(value: object) -> str:
    """Return JSON by which values are compared: 1, 1.0 and true differ."""
    return json.dumps(value, sort_keys=True)


def unique(details: Iterable[Detail]) -> Details:
    """Return each object once."""
    return tuple({encoded(detail): detail for detail in details}.values())


def to_json(details: Details) -> str | None:
    """Return the stored form; None: there are none."""
    return msgspec.json.encode(details).decode() if details else None


def from_json(text: str | None) -> Details:
    """Parse the stored form."""
    return () if text is None else msgspec.json.decode(text, type=Details)


def claim_of(details: Details) -> dict[str, Any]:
    """Return the claim of an access token (section 9.1); no claim, if there are no details."""
    return {"authorization_details": details} if details else {}


def check_within(asked: Details, granted: str | None) -> None:
    """Refuse details of a token request that were not granted (section 6).

    Args:
        granted: the stored form; None: the grant is unknown, which is for others to refuse.

    Raises:
        OAuthError: ``invalid_authorization_details``.
    """
    if granted is not None and not covers(from_json(granted), asked):
        raise invalid("One of the authorization_details was not granted.")


def is_within(asked: Detail, granted: Detail) -> bool:
    """Return whether an object allows nothing that the other does not allow.

    The members are the same, except that lists of the common members may be shorter. What a type means by its other
    members is not known here.
    """
    return asked.keys() == granted.keys() and all(
        encoded(value) == encoded(granted[name]) or (name in LISTS and _is_sublist(value, granted[name]))
        for name, value in asked.items()
    )


def _is_sublist(asked: object, granted: object) -> bool:
    if not isinstance(asked, list) or not isinstance(granted, list) or not asked:
        return False
    return set(map(encoded, asked)) <= set(map(encoded, granted))


def covers(granted: Iterable[Detail], asked: Iterable[Detail]) -> bool:
    """Return whether each object is within one of the granted ones."""
    granted = tuple(granted)
    return all(any(is_within(one, whole) for whole in granted) for one in asked)


def resources_of(details: Details) -> tuple[str, ...]:
    """Return the resource servers that details are for. Those of types that no longer exist are left out."""
    kinds = (registry.details_type(detail["type"]) for detail in details)
    return tuple(dict.fromkeys(kind.resource for kind in kinds if kind is not None))


def at_resources(details: Details, resources: Collection[str]) -> Details:
    """Return the details that are for one of these resource servers."""
    return tuple(detail for detail in details if resources_of((detail,)) and resources_of((detail,))[0] in resources)


def must_ask(detail: Detail) -> bool:
    """Return whether a user must allow an object each time."""
    kind = registry.details_type(detail["type"])
    return kind is not None and kind.ask_always
