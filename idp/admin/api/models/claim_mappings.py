"""Request and response bodies of the operations on claim mappings."""

from datetime import datetime
from typing import Any
from uuid import UUID

from idp.admin.api.models.base import Sent, Shown
from idp.oauth.claims.evaluation import Why
from idp.oauth.claims.models import Place, Shape
from idp.oauth.claims.sources import Source


class ClaimMapping(Shown):
    """A claim that a client gets in its tokens and responses, or every client with the scope. A mapping is not changed,
    but replaced.
    """

    id: UUID
    client_id: str | None
    scope: str | None
    claim: str
    source: Source
    places: tuple[Place, ...]
    shape: Shape
    created_at: datetime


class NewClaimMapping(Sent):
    """Without ``client_id`` it is for every client with the ``scope``. With a ``scope``, the claim needs it."""

    claim: str
    source: Source
    places: tuple[Place, ...]
    shape: Shape = Shape.VALUE
    client_id: str | None = None
    scope: str | None = None


class ExplainedClaim(Shown):
    """A claim in one place, and why it is there or not. The value is null if it is not there, or ``hidden`` from you.

    ``source`` is what it is made of; null for claims of the profile. ``mapping_id`` is null for claims of a scope.
    """

    place: Place
    claim: str
    why: Why
    value: Any
    scope: str | None
    source: str | None
    mapping_id: UUID | None
    hidden: bool


class TokenHookAnswer(Shown):
    """``result``: ``answered``, ``denied``, or why the hook gave no answer. ``said``: the reason of a denial.
    ``issued``: whether tokens would be issued.
    """

    result: str
    said: str
    issued: bool


class ClaimPreview(Shown):
    """The claims that a client would get about a user. ``content`` holds them for each place. ``hook`` is null if the
    token hook was not asked, or there is none.
    """

    scope: str
    resource: list[str]
    notes: list[str]
    content: dict[str, dict[str, Any]]
    explained: list[ExplainedClaim]
    hook: TokenHookAnswer | None
