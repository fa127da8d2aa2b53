"""Serves one stream: sends its due deliveries and records the results, while the lease is held."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import partial
from uuid import UUID

import msgspec
import structlog

from idp import clock
from idp.audit.events import storable
from idp.delivery import repository
from idp.delivery.handlers import DeliveryRejectedError, DueDelivery, Handlers
from idp.delivery.repository import Lease, StoredDelivery
from idp.errors import RemoteError
from idp.infra import outbound
from idp.infra.db import outages
from idp.infra.logs import exception_fields
from idp.infra.outbound import Answer, CallFailed
from idp.keys import vault
from idp.settings import settings

log = structlog.get_logger()

LEASE_SECONDS, RENEW_SECONDS = 20.0, 5.0
#: Limit of a request, from name resolution to the last byte of the response.
SEND_SECONDS = 10.0
#: Wait after failures: doubled from the first to the longest, with a jitter of 20 %.
FIRST_WAIT, LONGEST_WAIT = 2.0, 600.0
#: Failures in a row after which a stream is paused, if its deliveries need no order. Otherwise the first one pauses it.
PAUSE_AFTER = 3
#: Time after which a process gives other streams a turn.
TURN_SECONDS = 5.0
#: Deliveries of a stream that are read at a time, and sent at a time.
BATCH, CONCURRENT = 20, 4
#: Bytes of a response that are read, and characters of it that are kept.
MAX_READ, MAX_RESPONSE_LENGTH = 4096, 300
#: Waits between attempts to record a result during a database outage.
RECORD_WAITS = (0.1, *[1.0] * 300)


def content_context(id: UUID) -> str:
    """Return the context under which the content of a delivery is encrypted."""
    return f"delivery.content:{id}"


async def serve(lease: Lease, holder: UUID, held_until: float, handlers: Handlers, stopping: asyncio.Event) -> None:
    """Send the due deliveries of a stream until none is left, the receiver fails, or the turn ends. Raises nothing.

    Args:
        held_until: the end of the lease by the monotonic clock.
        stopping: set when no further request may begin.
    """
    try:
        await _Turn(lease, holder, held_until, handlers, stopping).run()
    except Exception as error:
        # The lease ends by itself.
        log.warning("outbox_failed", **exception_fields(error))


class _FailedError(RemoteError):
    """An attempt failed. The text is for administrators.

    Attributes:
        wait: seconds that the receiver asked us to wait.
    """

    def __init__(self, response: str, wait: float = 0.0) -> None:
        super().__init__(response)
        self.wait = wait


class _Turn:
    """The serving of one stream by this process."""

    def __init__(
        self, lease: Lease, holder: UUID, held_until: float, handlers: Handlers, stopping: asyncio.Event
    ) -> None:
        self._stream, self._holder = lease.stream, holder
        self._held_until = held_until
        self._handlers, self._kinds = handlers, list(handlers)
        self._stopping = stopping
        self._kept = float(settings().delivery_kept)
        # Attempts that failed in a row, and seconds for which the stream is paused because of them.
        self._failures = lease.failures
        self._pause = 0.0

    async def run(self) -> None:
        renewing = asyncio.create_task(self._renew())
        ends = time.monotonic() + TURN_SECONDS
        try:
            for kind in await repository.expire(self._stream, self._kept):
                log.error("delivery_dead", kind=kind, stream=self._stream, reason="Expired")
            async with outbound.client(timeout_seconds=SEND_SECONDS) as self._http:
                while self._may_send() and time.monotonic() < ends:
                    # One delivery finds out whether a receiver that failed works again.
                    batch = await repository.due(self._stream, self._kinds, 1 if self._failures else BATCH)
                    if not batch:
                        break
                    await self._send_all(batch)
        finally:
            renewing.cancel()
        if self._failures:
            await repository.pause(self._stream, self._holder, self._failures, self._pause)
        else:
            await repository.free(self._stream, self._holder)

    def _may_send(self) -> bool:
        return not self._pause and not self._stopping.is_set() and time.monotonic() < self._held_until

    async def _renew(self) -> None:
        """Renew the lease. During a database outage it is lost."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            until = time.monotonic() + LEASE_SECONDS
            with suppress(*outages.ERRORS):
                if not await repository.renew(self._stream, self._holder, LEASE_SECONDS):
                    return
                self._held_until = until

    async def _send_all(self, batch: list[StoredDelivery]) -> None:
        ordered = any(self._handlers[delivery.kind].ordered for delivery in batch)
        deliveries = iter(batch)
        async with asyncio.TaskGroup() as group:
            for _ in range(1 if ordered else CONCURRENT):
                group.create_task(self._send_some(deliveries, ordered))

    async def _send_some(self, deliveries: Iterator[StoredDelivery], ordered: bool) -> None:
        for delivery in deliveries:
            await self._deliver(delivery, ordered)
            if not self._may_send():
                return

    async def _deliver(self, delivery: StoredDelivery, ordered: bool) -> None:
        """Send one delivery and record the result."""
        handler = self._handlers[delivery.kind]
        try:
            answer = await self._send(delivery)
            if not answer.is_success and handler.is_final(answer):
                raise DeliveryRejectedError(_text(answer))
            if not answer.is_success:
                raise _FailedError(_text(answer), _retry_after(answer))
        except DeliveryRejectedError as error:
            log.error("delivery_dead", kind=delivery.kind, stream=self._stream, reason="Rejected")  # noqa: TRY400
            await _record(partial(repository.finish, delivery.id, "dead", _storable(str(error)), self._kept))
        except Exception as error:
            await self._failed(delivery, error, ordered)
        else:
            self._failures = 0
            await _record(partial(repository.finish, delivery.id, "delivered", _text(answer), self._kept))

    async def _send(self, stored: StoredDelivery) -> Answer:
        """Send one request.

        Raises:
            DeliveryRejectedError: it can never be sent.
            CallFailed: there was no response.
        """
        if stored.content is None:
            raise DeliveryRejectedError("Its content is missing.")
        content = msgspec.json.decode(vault.decrypt(stored.content, content_context(stored.id)))
        request = await self._handlers[stored.kind].compose(
            DueDelivery(
                stored.id, stored.kind, stored.stream, content, stored.user_id, stored.session_id, stored.attempts + 1
            )
        )
        return await outbound.exchange(
            self._http, request.method, request.url, request.headers, request.body, read=MAX_READ
        )

    async def _failed(self, delivery: StoredDelivery, error: Exception, ordered: bool) -> None:
        """Record a failure. Pause the stream if it is ordered, or the receiver asks for it or fails repeatedly."""
        known = isinstance(error, _FailedError | CallFailed)
        asked = error.wait if isinstance(error, _FailedError) else 0.0
        log.warning(
            "delivery_deferred", kind=delivery.kind, stream=self._stream, attempt=delivery.attempts + 1,
            error=type(error).__name__,
        )  # fmt: skip
        self._failures += 1
        if ordered or asked or (known and self._failures >= PAUSE_AFTER):
            self._pause = max(_wait(self._failures), asked)
        wait = 0.0 if ordered else max(_wait(delivery.attempts + 1), asked)
        text = _storable((str(error) if known else "") or type(error).__name__)
        await _record(partial(repository.defer, delivery.id, delivery.attempts, text, wait))


def _wait(failures: int) -> float:
    """Return the seconds until the attempt after so many failures."""
    return min(FIRST_WAIT * 2.0 ** min(failures - 1, 20), LONGEST_WAIT) * random.uniform(0.8, 1.2)  # noqa: S311


def _retry_after(answer: Answer) -> float:
    """Return the seconds that a response asks us to wait (RFC 9110 section 10.2.3), at most the longest wait."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(min(int(text[:9]), LONGEST_WAIT))
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    seconds = (at.replace(tzinfo=at.tzinfo or UTC) - clock.now()).total_seconds()
    return min(max(float(seconds), 0.0), LONGEST_WAIT)


def _text(answer: Answer) -> str:
    """Return a response as administrators see it: its status, and the beginning of its body if it failed."""
    body = "" if answer.is_success else " ".join(answer.body.decode(errors="replace").split())
    return _storable(f"{answer.status} {body}".strip())


def _storable(text: str) -> str:
    return str(storable(text))[:MAX_RESPONSE_LENGTH]


async def _record(write: Callable[[], Awaitable[object]]) -> None:
    """Record a result, retrying during a database outage: an unrecorded delivery is sent again."""
    for attempt, wait in enumerate((*RECORD_WAITS, 0.0)):
        try:
            await write()
        except Exception as error:
            if attempt == 0:
                log.warning("outbox_failed", **exception_fields(error))
            await asyncio.sleep(wait)
        else:
            return
