"""The values that the form of a client offers for a member, with what people call them."""

from collections.abc import Callable

from idp.federation.registry import upstreams
from idp.oauth import response_types
from idp.oauth.clients.members import MEMBERS
from idp.oauth.clients.registry import registry
from idp.oauth.clients.words import in_words
from idp.oauth.token.grants import grant_types

Choices = list[tuple[str, str]]


def _upstreams() -> Choices:
    return [(each.id, each.name) for each in upstreams.allowed(None, upstreams.organizations)]


def _named(member: str, values: Callable[[], tuple[str, ...]]) -> Callable[[], Choices]:
    return lambda: [(value, in_words(member, value)) for value in values()]


#: Members whose values depend on what is switched on or registered.
_CURRENT: dict[str, Callable[[], Choices]] = {
    "grant_types": _named("grant_types", grant_types),
    "response_types": _named("response_types", response_types.supported),
    "upstreams": _upstreams,
    "authorization_details_types": _named("authorization_details_types", lambda: registry.details_types),
}


def choices_of(member: str) -> Choices | None:
    """Return the values of a member with their names; None: it is not limited to any."""
    if (current := _CURRENT.get(member)) is not None:
        return current()
    choices = MEMBERS[member].choices
    return [(value, in_words(member, value)) for value in choices] if choices is not None else None
