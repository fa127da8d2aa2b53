"""The resource servers that are a part of this server."""

from idp.admin.access import SCOPE_PREFIX, api_resource
from idp.events.ssf import endpoint as ssf
from idp.oauth.clients.registry import registry
from idp.scim import access as scim


def build_in() -> None:
    """Add them to the registry, before anything is served or registered: nobody can register their identifiers."""
    registry.build_in(api_resource())
    if ssf.is_on():
        registry.build_in(ssf.resource())
    if scim.is_on():
        registry.build_in(scim.resource())


def is_own(scope: str) -> bool:
    """Return whether a scope is one of theirs, also of one that is off."""
    return scope.startswith(SCOPE_PREFIX) or scope in ssf.resource().scopes
