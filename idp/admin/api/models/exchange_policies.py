"""Request and response bodies of the operations on exchange policies."""

from datetime import datetime
from uuid import UUID

from idp.admin.api.models.base import Sent, Shown
from idp.oauth.exchange.models import Mode, SubjectTokenType


class ExchangePolicy(Shown):
    """A rule for the exchange of tokens by a client (RFC 8693). A policy is not changed, but replaced.

    ``scope`` are the scopes that a token keeps, ``added_scope`` those that it gets. Without ``user_ids``, the tokens of
    all users may be exchanged.
    """

    id: UUID
    client_id: str
    mode: Mode
    resources: tuple[str, ...]
    scope: str
    added_scope: str
    subject_token_types: tuple[SubjectTokenType, ...]
    subject_clients: tuple[str, ...]
    user_ids: tuple[UUID, ...]
    max_lifetime: int | None
    bearer_for_bound: bool
    created_at: datetime


class NewExchangePolicy(Sent):
    """``subject_clients`` are clients whose tokens may be exchanged even if they are not meant for this client.

    Only an owner may allow impersonation.
    """

    client_id: str
    resources: tuple[str, ...]
    mode: Mode = "delegation"
    scope: str = ""
    added_scope: str = ""
    subject_token_types: tuple[SubjectTokenType, ...] = ("access_token",)
    subject_clients: tuple[str, ...] = ()
    user_ids: tuple[UUID, ...] = ()
    max_lifetime: int | None = None
    bearer_for_bound: bool = False
