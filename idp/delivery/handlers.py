"""The handler of a kind of delivery: composes its request and judges responses, or makes several requests itself."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from idp.errors import RemoteError
from idp.infra.outbound import Answer, Client

#: Kinds that no server sends, and that have no handler: the receiver fetches them, or wants none now.
POLLED, HELD = NOT_SENT = ("security_event_poll", "security_event_held")


class DeliveryRejectedError(RemoteError):
    """The delivery can never be made: its receiver or its subject is gone. The text says why."""


class DeliveryFailedError(RemoteError):
    """An attempt failed, and is repeated later. The text is for administrators.

    Attributes:
        wait: seconds that the receiver asked us to wait.
        receiver: whether the receiver is at fault. Otherwise it is not paused.
    """

    def __init__(self, response: str, wait: float = 0.0, *, receiver: bool = True) -> None:
        super().__init__(response)
        self.wait = wait
        self.receiver = receiver


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


async def _no_request(_: DueDelivery) -> DeliveryRequest:
    raise NotImplementedError


def _never(_: Answer) -> bool:
    return False


class Handler(NamedTuple):
    """How a kind is delivered: by ``compose`` with one request, or by ``perform`` with any number.

    Attributes:
        compose: makes the request. It runs before every attempt, so the URL, keys and times are current. It may raise
            :class:`DeliveryRejectedError`; any other error is retried.
        ordered: whether a delivery waits for all earlier ones of its stream. A dead one lets the next pass.
        is_final: whether another response than 2xx means that a retry is useless.
        perform: sends requests by the client of the stream, and returns what administrators see of the result. It
            raises as ``compose`` does, or :class:`DeliveryFailedError`. It is cancelled after
            :data:`idp.delivery.stream.PERFORM_SECONDS`.
    """

    compose: Callable[[DueDelivery], Awaitable[DeliveryRequest]] = _no_request
    ordered: bool = False
    is_final: Callable[[Answer], bool] = _never
    perform: Callable[[DueDelivery, Client], Awaitable[str]] | None = None


Handlers = Mapping[str, Handler]
