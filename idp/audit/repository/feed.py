"""The statements on the feed: the events that others subscribed to, until they are published (:mod:`idp.events`)."""

from collections.abc import Collection, Mapping

import msgspec

from idp.audit.repository.audit_events import PUBLISHED, Event
from idp.infra.db.engine import execute, fetch
from idp.infra.db.rows import many

#: Subscribes to all kinds.
ALL = "*"

_SET_KINDS = """
    WITH gone AS (DELETE FROM event_feed_kind WHERE subscriber = $2 AND kind <> ALL ($1::text[]))
    INSERT INTO event_feed_kind (kind, subscriber) SELECT unnest($1::text[]), $2 ON CONFLICT DO NOTHING
"""
# In order, and without SKIP LOCKED: a second process waits until the first has published what it took.
_TAKE = """
    WITH taken AS MATERIALIZED (SELECT id FROM event_feed ORDER BY id LIMIT $1 FOR UPDATE)
    DELETE FROM event_feed AS f USING taken WHERE f.id = taken.id RETURNING f.id, f.private
"""
_HAS_ROWS = "SELECT FROM event_feed LIMIT 1"


class FedEvent(Event, frozen=True):
    """An event to publish, with what the trail does not keep."""

    private: Mapping[str, str]


async def set_kinds(subscriber: str, kinds: Collection[str]) -> None:
    """Set the kinds of events that are fed for a subscriber from now on; :data:`ALL`: every kind."""
    await execute(_SET_KINDS, sorted(kinds), subscriber)


async def has_events() -> bool:
    return bool(await fetch(_HAS_ROWS))


async def take(limit: int) -> list[FedEvent] | None:
    """Remove the oldest events of the feed and return them in order; None: there are none.

    The caller publishes them in the same transaction. Events that retention has deleted meanwhile are left out.
    """
    private = {row["id"]: msgspec.json.decode(row["private"] or "{}") for row in await fetch(_TAKE, limit)}
    if not private:
        return None
    events = many(Event, await fetch(PUBLISHED, sorted(private)))
    return [FedEvent(**msgspec.structs.asdict(event), private=private[event.id]) for event in events]
