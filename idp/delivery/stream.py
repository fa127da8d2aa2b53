"""Serves one stream: sends its due deliveries and records the results, while the lease is held."""

import asyncio
import random
import time
from collections.abc import Awaitable, Iterator
from contextlib import suppress
from functools import partial
from uuid import UUID

import msgspec
import structlog

from idp import clock
from idp.audit.events import storable
from idp.delivery import repository
from idp.delivery.handlers import DeliveryFailedError, DeliveryRejectedError, DueDelivery, Handler, Handlers
from idp.delivery.repository import Lease, StoredDelivery
from idp.infra import http_date, outbound
from idp.infra.db import outages, retries
from idp.infra.logs import exception_fields
from idp.infra.name_lookups import CLIENTS
from idp.infra.outbound import Answer, CallFailed
from idp.infra.tracing import spans
from idp.keys import vault
from idp.settings import settings

log = structlog.get_logger()

LEASE_SECONDS, RENEW_SECONDS = 20.0, 5.0
#: Limit of a request, from name resolution to the last byte of the response.
SEND_SECONDS = 10.0
#: Limit of a delivery that makes several requests.
PERFORM_SECONDS = 25.0
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

#: Record a result. An unrecorded delivery is sent again.
_record = partial(retries.write, waiting="outbox_failed", not_done="delivery_not_recorded")


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
            async with outbound.client(timeout_seconds=SEND_SECONDS, lookups=CLIENTS) as self._http:
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
        named: spans.Attributes = {"idp.delivery_id": str(delivery.id), "idp.attempt": delivery.attempts + 1}
        try:
            with spans.work(f"deliver {delivery.kind}", named):
                result = await self._send(delivery, handler)
        except DeliveryRejectedError as error:
            log.error("delivery_dead", kind=delivery.kind, stream=self._stream, reason="Rejected")  # noqa: TRY400
            await _record(partial(repository.finish, delivery.id, "dead", _storable(str(error)), self._kept))
        except Exception as error:
            await self._failed(delivery, error, ordered)
        else:
            self._failures = 0
            await _record(partial(repository.finish, delivery.id, "delivered", _storable(result), self._kept))

    async def _send(self, stored: StoredDelivery, handler: Handler) -> str:
        """Make a delivery and return the response.

        Raises:
            DeliveryRejectedError: it can never be sent.
            DeliveryFailedError: the receiver did not accept it.
            CallFailed: there was no response.
        """
        if stored.content is None:
            raise DeliveryRejectedError("Its content is missing.")
        content = msgspec.json.decode(vault.decrypt(stored.content, content_context(stored.id)))
        due = DueDelivery(
            stored.id, stored.kind, stored.stream, content, stored.user_id, stored.session_id, stored.attempts + 1
        )
        if handler.perform is not None:
            return await self._perform(handler.perform(due, self._http))
        request = await handler.compose(due)
        answer = await outbound.exchange(
            self._http, request.method, request.url, request.headers, request.body, read=MAX_READ
        )
        if not answer.is_success and handler.is_final(answer):
            raise DeliveryRejectedError(text_of(answer))
        if not answer.is_success:
            raise DeliveryFailedError(text_of(answer), retry_after(answer))
        return text_of(answer)

    @staticmethod
    async def _perform(work: Awaitable[str]) -> str:
        try:
            async with asyncio.timeout(PERFORM_SECONDS):
                return await work
        except TimeoutError as error:
            raise DeliveryFailedError("It took too long.") from error

    async def _failed(self, delivery: StoredDelivery, error: Exception, ordered: bool) -> None:
        """Record a failure. Pause the stream if it is ordered, or the receiver asks for it or fails repeatedly."""
        match error:
            case DeliveryFailedError():
                known, text = True, str(error)
            case CallFailed():
                known, text = True, outbound.cause(error)
            case _:
                known, text = False, type(error).__name__
        asked = error.wait if isinstance(error, DeliveryFailedError) else 0.0
        at_fault = error.receiver if isinstance(error, DeliveryFailedError) else True
        log.warning(
            "delivery_deferred", kind=delivery.kind, stream=self._stream, attempt=delivery.attempts + 1,
            error=type(error).__name__,
        )  # fmt: skip
        self._failures += at_fault
        if ordered or asked or (known and at_fault and self._failures >= PAUSE_AFTER):
            self._pause = max(_wait(self._failures), asked)
        wait = 0.0 if ordered else max(_wait(delivery.attempts + 1), asked)
        await _record(partial(repository.defer, delivery.id, delivery.attempts, _storable(text), wait))


def _wait(failures: int) -> float:
    """Return the seconds until the attempt after so many failures."""
    return min(FIRST_WAIT * 2.0 ** min(failures - 1, 20), LONGEST_WAIT) * random.uniform(0.8, 1.2)  # noqa: S311


def retry_after(answer: Answer) -> float:
    """Return the seconds that a response asks us to wait (RFC 9110 section 10.2.3), at most the longest wait."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(min(int(text[:9]), LONGEST_WAIT))
    at = http_date.parse(text)
    return min(max((at - clock.now()).total_seconds(), 0.0), LONGEST_WAIT) if at else 0.0


def text_of(answer: Answer) -> str:
    """Return a response as administrators see it: its status, and the beginning of its body if it failed."""
    body = "" if answer.is_success else " ".join(answer.body.decode(errors="replace").split())
    return _storable(f"{answer.status} {body}".strip())


def _storable(text: str) -> str:
    return str(storable(text))[:MAX_RESPONSE_LENGTH]
