"""Metrics of the database and of the records in memory (docs/metrics.md)."""

from idp.infra.db import cache_invalidation
from idp.infra.db.engine import engine, is_writable
from idp.infra.metrics.declared import Gauge

UP = Gauge("idp_database_up", "1 if PostgreSQL answers and accepts writes, otherwise 0.", mode="mostrecent")
CACHE_AGE = Gauge(
    "idp_cache_age_seconds", "Time since a worker last knew that its records in memory are current.", mode="livemax"
)
REVISION = Gauge("idp_cache_revision", "The oldest revision of records that a worker holds.", "topic", mode="livemin")
NOTICES = Gauge("idp_cache_notices", "1 if every worker gets notices of changes, 0 if one only polls.", mode="livemin")
SKEW = Gauge("idp_clock_skew_seconds", "How far this clock is ahead of the clock of PostgreSQL.", mode="livemax")


def read_load() -> None:
    """Read the connections in use and the state of the records in memory of this worker."""
    if engine.lines is not None:
        engine.lines.read_load()
    watch = cache_invalidation.current()
    if watch is not None:
        CACHE_AGE.set(watch.age)
        NOTICES.set(bool(watch.listening))
        SKEW.set(watch.skew.total_seconds())
        for topic, revision in watch.seen.items():
            REVISION.set(revision, topic)


async def read_state() -> None:
    """Read whether the database can be used."""
    try:
        UP.set(await is_writable())
    except BaseException:
        UP.set(0)
        raise
