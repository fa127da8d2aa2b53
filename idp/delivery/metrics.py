"""Metrics of the outbox of deliveries (docs/metrics.md)."""

from idp.delivery.repository import count_deliveries
from idp.infra.metrics.declared import Gauge

WAITING = Gauge("idp_deliveries_waiting", "Deliveries that wait, at most 1000.", mode="mostrecent")
OVERDUE = Gauge(
    "idp_deliveries_overdue_seconds",
    "Time for which a delivery has been due and no server sends it.",
    mode="mostrecent",
)
FAILING = Gauge(
    "idp_deliveries_failing_receivers", "Receivers whose last 5 attempts failed, at most 1000.", mode="mostrecent"
)
DEAD = Gauge("idp_deliveries_dead", "Deliveries given up within a day, at most 1000.", mode="mostrecent")


async def read_outbox() -> None:
    """Read the state of the outbox."""
    found = await count_deliveries()
    WAITING.set(found.waiting)
    OVERDUE.set(found.overdue)
    FAILING.set(found.failing)
    DEAD.set(found.dead)
