"""The consent of a user: scopes, each at one resource, and single claims."""

from collections.abc import Collection, Iterable
from typing import NamedTuple, Self

import msgspec

from idp.oauth.authorize.request import AuthorizationRequest
from idp.oauth.details.granted import covers, from_json
from idp.oauth.details.models import Details
from idp.oauth.scopes import SCOPE_OF_CLAIM, STANDARD_SCOPES


class ConsentedScope(msgspec.Struct, frozen=True):
    """A scope at a resource; None is this server itself."""

    scope: str
    resource: str | None = None

    @classmethod
    def read(cls, stored: str) -> Self:
        """Parse the stored form: scope and resource, separated by a space (neither has one, RFC 6749 section 3.3)."""
        scope, _, resource = stored.partition(" ")
        return cls(scope, resource or None)

    def __str__(self) -> str:
        return self.scope if self.resource is None else f"{self.scope} {self.resource}"


def at_resources(scopes: Iterable[str], resources: Collection[str]) -> list[ConsentedScope]:
    """Return the scopes of a token at each of its resources.

    A standard scope also opens userinfo. Any other scope is for this server only if no resource is named.
    """
    return [
        ConsentedScope(scope, resource)
        for scope in scopes
        for resource in (*([None] if scope in STANDARD_SCOPES or not resources else []), *resources)
    ]


class ConsentGrant(NamedTuple):
    """The content of a consent, or of a request that needs one: scopes, claims and authorization details."""

    scopes: frozenset[ConsentedScope]
    claims: frozenset[str]
    details: Details = ()

    @classmethod
    def needed(cls, asked: AuthorizationRequest) -> Self:
        """Return the grant that covers a request and nothing else."""
        scopes, claims = at_resources(asked.scope, asked.resource), asked.claims_by_name
        return cls(frozenset(scopes), frozenset(claims), asked.authorization_details)

    @classmethod
    def read(cls, scopes: Iterable[str], claims: Iterable[str], details: str | None = None) -> Self:
        """Parse the stored form (:class:`idp.oauth.repository.consents.StoredConsent`)."""
        return cls(frozenset(map(ConsentedScope.read, scopes)), frozenset(claims), from_json(details))

    def covers(self, other: Self) -> bool:
        """Return whether this grant includes all of the other. A scope includes its claims."""
        claims = (
            claim in self.claims or ConsentedScope(SCOPE_OF_CLAIM[claim]) in self.scopes for claim in other.claims
        )
        return other.scopes <= self.scopes and all(claims) and covers(self.details, other.details)
