"""What a person allows a client: scopes, each at one resource, and claims by name."""

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple, Self

import msgspec

from idp.oauth.authorize.request import AuthorizationRequest
from idp.oauth.scopes import SCOPE_OF_CLAIM, STANDARD_SCOPES


class Pair(msgspec.Struct, frozen=True):
    """A scope at a resource; at this server itself, the resource is None."""

    scope: str
    resource: str | None = None

    @classmethod
    def read(cls, stored: str) -> Self:
        """A pair as the database holds it. Neither scopes nor resources have spaces (RFC 6749 section 3.3)."""
        scope, _, resource = stored.partition(" ")
        return cls(scope, resource or None)

    def __str__(self) -> str:
        return self.scope if self.resource is None else f"{self.scope} {self.resource}"


def pairs_of(scopes: Iterable[str], resources: Collection[str]) -> list[Pair]:
    """The pairs that tokens of a scope for some resources stand for.

    A standard scope always opens userinfo too; any other is meant for this server where no resource is named.
    """
    return [
        Pair(scope, resource)
        for scope in scopes
        for resource in (*([None] if scope in STANDARD_SCOPES or not resources else []), *resources)
    ]


class Allowance(NamedTuple):
    """What a request needs the person's consent for, or what the person consented to."""

    pairs: frozenset[Pair]
    claims: frozenset[str]

    @classmethod
    def needed(cls, asked: AuthorizationRequest) -> Self:
        """The allowance that covers a request and nothing else."""
        return cls(frozenset(pairs_of(asked.scope, asked.resource)), frozenset(asked.claims_by_name))

    @classmethod
    def of_row(cls, row: Any) -> Self:
        """The allowance that a row of the table of consents holds."""
        return cls(frozenset(map(Pair.read, row["pairs"])), frozenset(row["claims"]))

    def covers(self, other: Self) -> bool:
        """Whether this one allows all of the other. A scope allows the claims that belong to it."""
        return other.pairs <= self.pairs and all(
            claim in self.claims or Pair(SCOPE_OF_CLAIM[claim]) in self.pairs for claim in other.claims
        )

    @property
    def columns(self) -> tuple[list[str], list[str]]:
        """The values of the columns ``pairs`` and ``claims``."""
        return sorted(map(str, self.pairs)), sorted(self.claims)
