"""The outbox of deliveries: they are stored with the change that causes them, and every server process sends them.

A stream is the list of deliveries to one receiver. One process at a time serves a stream: it holds a lease of
:data:`LEASE_SECONDS`, which it renews. If the process is killed, another one takes the stream when the lease ends.
Delivery is at least once: if a process is killed after the receiver's response and before that is recorded, the
delivery is sent again with the same id. What was recorded as delivered is never sent again.

A process takes streams in turn, so a receiver with many deliveries does not delay others. A receiver that fails is
paused as a whole, and few of a process's places are for receivers that failed last, so slow ones do not delay others.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
import structlog

from idp import ids
from idp.delivery import repository
from idp.delivery.handlers import Handlers
from idp.delivery.repository import Lease, NewDelivery
from idp.delivery.stream import LEASE_SECONDS, content_context, serve
from idp.infra.db.engine import ping
from idp.infra.logs import exception_fields
from idp.keys import vault
from idp.settings import settings

log = structlog.get_logger()

#: Wait after a database outage before taking streams, so that other processes can record what they sent.
SETTLE_SECONDS = 5.0
#: Interval of polling the outbox.
POLL_SECONDS = 1.0
#: Time for requests that are under way at shutdown. It must be less than ``drain_timeout``.
LAST_SECONDS = 5.0
#: Streams that one process serves at the same time, and how many of them may have failed last.
STREAMS, FAILING_STREAMS = 64, 16
#: Deliveries that :func:`queue_many` encrypts and inserts at a time.
BATCH = 500

_woken = asyncio.Event()


class Queued(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery to store; see :func:`queue`."""

    kind: str
    stream: str
    content: dict[str, Any]
    user_id: UUID | None = None
    session_id: UUID | None = None
    lifetime: int | None = None
    urgent: bool = False
    id: UUID = msgspec.field(default_factory=ids.uuid7)


async def queue(
    kind: str,
    stream: str,
    content: dict[str, Any],
    *,
    user_id: UUID | None = None,
    session_id: UUID | None = None,
    lifetime: int | None = None,
    urgent: bool = False,
) -> UUID:
    """Store a delivery, in the caller's transaction, and return its id.

    Args:
        kind: the name of its handler (:class:`idp.delivery.handlers.Handler`).
        stream: its receiver, such as ``client:<client_id>`` or ``webhook:<id>``.
        content: what the handler composes the request from, as JSON. It is stored encrypted.
        user_id: the user whom it is about.
        session_id: the session of that user which it is about.
        lifetime: seconds after which it is useless. By default the setting ``delivery_retry_lifetime``.
        urgent: it goes before all others of its stream that are not.
    """
    delivery = Queued(
        kind=kind, stream=stream, content=content, user_id=user_id, session_id=session_id, lifetime=lifetime,
        urgent=urgent,
    )  # fmt: skip
    await queue_many([delivery])
    return delivery.id


async def queue_many(deliveries: Sequence[Queued]) -> None:
    """Store deliveries, in the caller's transaction. Those of one stream keep their order."""
    for start in range(0, len(deliveries), BATCH):
        await repository.queue([_sealed(delivery) for delivery in deliveries[start : start + BATCH]])
    _woken.set()


def _sealed(delivery: Queued) -> NewDelivery:
    return NewDelivery(
        delivery.id,
        delivery.kind,
        delivery.stream,
        vault.encrypt(msgspec.json.encode(delivery.content), content_context(delivery.id)),
        delivery.user_id,
        delivery.session_id,
        float(delivery.lifetime or settings().delivery_retry_lifetime),
        delivery.urgent,
    )


async def run(handlers: Handlers) -> None:
    """Send due deliveries until cancelled. Requests under way then get :data:`LAST_SECONDS` to end."""
    sender = _Sender(handlers)
    settled = True
    try:
        while True:
            try:
                if not settled:
                    await ping()
                    await asyncio.sleep(SETTLE_SECONDS)
                settled = True
                more = await sender.start()
            except Exception as error:
                # An unexpected error must not stop the outbox of this process.
                log.warning("outbox_failed", **exception_fields(error))
                settled = more = False
            if not more:
                await sender.pause()
    finally:
        await sender.stop()


async def deliver_due(handlers: Handlers) -> int:
    """Serve the streams that are due once, and return how many there were. For tests."""
    sender = _Sender(handlers)
    while await sender.start():
        pass
    number = len(sender.serving)
    await asyncio.gather(*sender.serving)
    return number


class _Sender:
    """The streams that this process serves.

    Attributes:
        serving: their tasks, with whether the stream failed last.
    """

    def __init__(self, handlers: Handlers) -> None:
        self._handlers = handlers
        self._stopping = asyncio.Event()
        self._after = ""
        self.serving: dict[asyncio.Task[None], bool] = {}

    async def start(self) -> bool:
        """Serve further streams that are due. Returns whether there may be more, and places for them."""
        self.serving = {task: failing for task, failing in self.serving.items() if not task.done()}
        if len(self.serving) >= STREAMS:
            return False
        walked = await repository.waiting_streams(self._after, list(self._handlers))
        places, failing_places = STREAMS - len(self.serving), FAILING_STREAMS - sum(self.serving.values())
        chosen: list[str] = []
        self._after = walked[-1].stream if len(walked) == repository.WALK else ""
        for waiting in walked:
            if not waiting.due or (waiting.failures and failing_places <= 0):
                continue
            if len(chosen) == places:
                # The next round begins after the last chosen stream.
                self._after = chosen[-1]
                break
            failing_places -= bool(waiting.failures)
            chosen.append(waiting.stream)
        if chosen:
            holder, until = ids.uuid7(), time.monotonic() + LEASE_SECONDS
            for lease in await repository.lease(chosen, holder, LEASE_SECONDS):
                self._serve(lease, holder, until)
        return self._after != "" and len(self.serving) < STREAMS

    def _serve(self, lease: Lease, holder: UUID, held_until: float) -> None:
        task = asyncio.create_task(serve(lease, holder, held_until, self._handlers, self._stopping))
        self.serving[task] = lease.failures > 0

    async def pause(self) -> None:
        """Wait until this process stores a delivery or has served a stream, or for the polling interval."""
        waker = asyncio.create_task(_woken.wait())
        await asyncio.wait({waker, *self.serving}, timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        waker.cancel()
        if _woken.is_set():
            _woken.clear()
            # The transaction that stored the delivery is not committed yet.
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        self._stopping.set()
        if self.serving:
            await asyncio.wait(self.serving, timeout=LAST_SECONDS)
        for task in self.serving:
            task.cancel()
        if self.serving:
            # A request that does not end must not stop the process from ending.
            await asyncio.wait(self.serving, timeout=LAST_SECONDS)
