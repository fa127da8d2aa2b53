"""A policy of token exchange."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

Mode = Literal["delegation", "impersonation"]
#: The last parts of the token type identifiers (RFC 8693 section 3).
SubjectTokenType = Literal["access_token", "id_token", "jwt"]


class ExchangePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may exchange. It is never changed, so that its id in the audit trail keeps its meaning.

    Attributes:
        mode: ``delegation``: the token names the actor; ``impersonation``: it does not.
        resources: the resource servers that tokens are issued for.
        scope: the scopes that a token keeps, of those that the subject token has.
        added_scope: the scopes that a token gets, whether the subject token has them or not.
        subject_token_types: what may be exchanged.
        subject_clients: clients whose tokens may be exchanged even if they are not meant for this client.
        user_ids: the users whose tokens may be exchanged; empty: all. Administrators are never impersonated.
        max_lifetime: the longest lifetime of a token in seconds; None: that of every access token.
        bearer_for_bound: whether a subject token that is bound to a key is exchanged for one that is not.
    """

    id: UUID
    client_id: str
    mode: Mode
    resources: tuple[str, ...]
    scope: str = ""
    added_scope: str = ""
    subject_token_types: tuple[SubjectTokenType, ...] = ("access_token",)
    subject_clients: tuple[str, ...] = ()
    user_ids: tuple[UUID, ...] = ()
    max_lifetime: int | None = None
    bearer_for_bound: bool = False
    created_at: datetime
