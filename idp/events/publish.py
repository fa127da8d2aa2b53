"""Turns the feed of events into deliveries, in order."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from uuid import UUID

import structlog

from idp.audit.repository import feed
from idp.audit.repository.feed import FedEvent
from idp.delivery import outbox
from idp.delivery.outbox import Queued
from idp.events import repository, webhooks
from idp.events.models import Stream, Webhook
from idp.events.ssf import endpoint as ssf
from idp.events.ssf import repository as ssf_repository
from idp.events.ssf import tokens
from idp.events.ssf.types import KINDS as SIGNALS
from idp.infra.db.engine import transaction
from idp.infra.db.locks import lock
from idp.infra.logs import exception_fields
from idp.infra.observers import observing

log = structlog.get_logger()

POLL_SECONDS = 0.5
#: Events that are published in one transaction.
BATCH = 200

#: Another subscriber of the feed: returns the deliveries of events, in the transaction that takes them.
Subscriber = Callable[[Sequence[FedEvent]], Awaitable[list[Queued]]]


async def run(others: Sequence[Subscriber] = ()) -> None:
    """Publish until cancelled, to webhooks, streams and others. Intervals are random, so that workers do not all look
    at once.
    """
    failing = False
    while True:
        try:
            while await feed.has_events() and await publish(others):
                pass
            failing = False
        except Exception as error:
            if not failing:
                log.warning("events_not_published", **exception_fields(error))
            failing = True
        await asyncio.sleep(random.uniform(0.8, 1.2) * POLL_SECONDS)  # noqa: S311


async def publish(others: Sequence[Subscriber] = ()) -> bool:
    """Publish a batch of events. Returns False if there were none."""
    async with transaction():
        # Changes of streams take it too: what was read of them stays true until the deliveries are stored.
        await lock("event_feed_kind")
        events = await feed.take(BATCH)
        if events is None:
            return False
        hooks = await repository.enabled_webhooks()
        streams = (
            [stream for stream in await ssf_repository.streams() if stream.status != "disabled"] if ssf.is_on() else []
        )
        found: list[Queued] = []
        for event in events:
            found += await _deliveries(event, hooks, streams)
        for subscriber in others:
            found += await subscriber(events)
        await outbox.queue_many(found)
    return True


async def _deliveries(event: FedEvent, hooks: Collection[Webhook], streams: list[Stream]) -> list[Queued]:
    found: list[Queued] = []
    # An event of which no message can be made must not hold up all later ones.
    with observing("webhooks"):
        found += webhooks.deliveries_of(event, hooks)
    if streams and event.event in SIGNALS and event.user_id is not None:
        of_user: Collection[UUID] = await ssf_repository.streams_of_user(event.user_id)
        with observing("shared_signals"):
            found += tokens.deliveries_of(event, streams, of_user)
        if event.event == "user_deleted":
            await ssf_repository.forget_user(event.user_id)
    return found
