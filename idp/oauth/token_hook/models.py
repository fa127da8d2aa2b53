"""Hooks, and the words for how a call ended."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import msgspec

from idp.oauth.claims.models import Place

#: Claims that a hook adds, by place.
Added = Mapping[str, Mapping[str, Any]]
NOTHING: Final[Added] = MappingProxyType({})


class TokenHook(msgspec.Struct, frozen=True, kw_only=True):
    """A URL that is asked before tokens of a user are issued.

    Attributes:
        client_id: the client; None: every client without a hook of its own.
        places: the tokens and responses that it is asked about.
        fail_open: whether tokens are issued without its claims if it fails. Otherwise they are not issued.
        old_secret_until: the time until which the secret before signs too.
    """

    id: UUID
    client_id: str | None
    url: str
    places: tuple[Place, ...]
    fail_open: bool
    old_secret_until: datetime | None
    disabled_at: datetime | None
    created_at: datetime
    updated_at: datetime


class LoadedHook(TokenHook, frozen=True, kw_only=True):
    """A hook with its encrypted secrets."""

    secret: bytes
    old_secret: bytes | None


class Failure(StrEnum):
    """Why a hook gave no answer."""

    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed_out"
    WRONG_STATUS = "wrong_status"
    TOO_LONG = "too_long"
    INVALID_ANSWER = "invalid_answer"
    #: Too many calls are under way.
    BUSY = "busy"
    #: It failed several times, and is not called for a while.
    PAUSED = "paused"


def context(id: UUID) -> str:
    """Return where the secret of a hook is stored."""
    return f"token_hook.secret:{id}"
