"""Which kinds of events anyone wants. Others are not fed."""

from idp.audit.repository import feed
from idp.events import repository
from idp.events.ssf import repository as ssf_repository
from idp.events.ssf.types import KINDS as SIGNALS

#: The name of webhooks and streams in the feed.
SUBSCRIBER = "events"


async def feed_kinds() -> None:
    """Feed the kinds of events that a webhook or a stream wants. To be called under the lock ``event_feed_kind``."""
    wanted = await repository.wanted_by_webhooks()
    if any(stream.status != "disabled" for stream in await ssf_repository.streams()):
        wanted |= SIGNALS
    await feed.set_kinds(SUBSCRIBER, wanted)
