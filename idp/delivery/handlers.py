"""The handler of a kind of delivery: composes its request and judges responses."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from idp.errors import RemoteError
from idp.infra.outbound import Answer


class DeliveryRejectedError(RemoteError):
    """The delivery can never be made: its receiver or its subject is gone. The text says why."""


class DueDelivery(msgspec.Struct, frozen=True):
    """A delivery at the moment of an attempt.

    Attributes:
        id: the same for every attempt, for ``jti``, ``webhook-id`` and the like.
        attempt: its number, starting at 1.
    """

    id: UUID
    kind: str
    stream: str
    content: dict[str, Any]
    user_id: UUID | None
    session_id: UUID | None
    attempt: int


class DeliveryRequest(msgspec.Struct, frozen=True):
    """The HTTP request of one attempt."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    method: str = "POST"


def _never(_: Answer) -> bool:
    return False


class Handler(NamedTuple):
    """How a kind is delivered.

    Attributes:
        compose: makes the request. It runs before every attempt, so the URL, keys and times are current. It may raise
            :class:`DeliveryRejectedError`; any other error is retried.
        ordered: whether a delivery waits for all earlier ones of its stream. A dead one lets the next pass.
        is_final: whether another response than 2xx means that a retry is useless.
    """

    compose: Callable[[DueDelivery], Awaitable[DeliveryRequest]]
    ordered: bool = False
    is_final: Callable[[Answer], bool] = _never


Handlers = Mapping[str, Handler]
