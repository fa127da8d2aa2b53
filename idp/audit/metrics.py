"""Metrics of the audit trail (docs/metrics.md)."""

from idp.audit import buffer
from idp.audit.repository import audit_events
from idp.infra.metrics.declared import Gauge

UNSEALED = Gauge("idp_audit_unsealed_seconds", "Age of the oldest event that no checkpoint covers.", mode="mostrecent")
BUFFERED = Gauge("idp_audit_buffered_events", "Events that are not written yet.", mode="livesum")


def read_buffer() -> None:
    """Read how many events of this worker are not written yet."""
    BUFFERED.set(buffer.waiting())


async def read_trail() -> None:
    """Read how far the checkpoints are."""
    UNSEALED.set(await audit_events.unsealed_seconds())
