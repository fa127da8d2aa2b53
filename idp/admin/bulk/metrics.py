"""Metrics of bulk jobs (docs/metrics.md)."""

from idp.admin.bulk.repository.jobs import count
from idp.infra.metrics.declared import Gauge

UNFINISHED = Gauge("idp_bulk_jobs", "Bulk jobs that have not ended.", "state", mode="mostrecent")
WAITING = Gauge(
    "idp_bulk_job_waiting_seconds",
    "Longest time for which an unfinished bulk job has not moved on.",
    mode="mostrecent",
)


async def read_jobs() -> None:
    """Read how many jobs there are, and how long one waits."""
    found = await count()
    UNFINISHED.set(found.queued, "queued")
    UNFINISHED.set(found.running, "running")
    WAITING.set(found.waiting)
