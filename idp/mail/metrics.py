"""Metrics of the mail outbox (docs/metrics.md)."""

from idp.infra.metrics.declared import Gauge
from idp.mail.repository import count_mails

WAITING = Gauge("idp_mails_waiting", "Mails that wait to be sent, at most 1000.", mode="mostrecent")
OVERDUE = Gauge("idp_mails_overdue_seconds", "Time since the next attempt at a mail was due.", mode="mostrecent")
DEAD = Gauge("idp_mails_dead", "Mails that were given up within a day, at most 1000.", mode="mostrecent")


async def read_outbox() -> None:
    """Read the state of the outbox."""
    found = await count_mails()
    WAITING.set(found.waiting)
    OVERDUE.set(found.overdue)
    DEAD.set(found.dead)
