"""Mails, deliveries and checkpoints that wait, and the systems that do not take them."""

from collections.abc import Iterator

from idp.audit.repository import audit_events
from idp.delivery.repository import FailingStream, count_deliveries, failing_streams
from idp.doctor.models import Context, Finding, Findings, error, ok, warning
from idp.mail.repository import count_mails
from idp.provisioning.repository.targets import enabled_targets

#: Seconds that a mail or a delivery may be due. A running server sends at once.
OVERDUE = 120.0
#: Intervals of checkpoints that an event may wait, and seconds added to them.
LATE_INTERVALS, LATE_SECONDS = 3, 120.0
#: Number of failing receivers that are named.
NAMED = 10


async def check_mail(_: Context) -> Findings:
    """Count the mails that wait, and those that could not be sent."""
    found = await count_mails()
    if found.overdue > OVERDUE:
        yield error(
            "mail_stuck",
            f"{found.waiting} mails wait. No server has sent one that was due {found.overdue:.0f} s ago.",
            "Check that a server runs on this database. `idp mail list --state deferred` shows the answers to mails.",
        )
    if found.dead:
        yield warning(
            "mail_dead",
            f"{found.dead} mails were given up within a day.",
            "See the answers of the SMTP server: idp mail list --state dead",
        )
    if found.overdue <= OVERDUE and not found.dead:
        yield ok(f"{found.waiting} mails wait, none of them for long.")


async def check_deliveries(_: Context) -> Findings:
    """Count the deliveries that wait or were given up, and name the receivers that fail."""
    counts = await count_deliveries()
    findings = []
    if counts.overdue > OVERDUE:
        findings.append(
            error(
                "deliveries_stuck",
                f"{counts.waiting} deliveries wait. No server has sent one that was due {counts.overdue:.0f} s ago.",
                "Check that a server runs on this database: idp deliveries list",
            )
        )
    if counts.dead:
        findings.append(
            warning(
                "deliveries_dead",
                f"{counts.dead} deliveries were given up within a day.",
                "When the receivers work: idp deliveries replay",
            )
        )
    findings += map(_failing, await failing_streams(NAMED))
    findings += [
        error(
            "provisioning_target_failing",
            f"The provisioning target {target.name} refuses all requests: {target.failing_reason}",
            f"Fix the target or its token, then: idp provisioning test {target.name}",
        )
        for target in await enabled_targets()
        if target.failing_since is not None
    ]
    for finding in findings:
        yield finding
    if not findings:
        yield ok(f"{counts.waiting} deliveries wait, and no receiver fails.")


def _failing(stream: FailingStream) -> Finding:
    return warning(
        "receiver_failing",
        f"The last {stream.failures} attempts at {stream.stream} failed.",
        "See its answers: idp deliveries list. Fix the receiver, or disable it.",
    )


async def check_audit(context: Context) -> Findings:
    """See whether checkpoints seal the audit trail."""
    seconds = await audit_events.unsealed_seconds()
    for finding in _unsealed(seconds, context.settings.audit_checkpoint_interval):
        yield finding
        return
    yield ok("Checkpoints seal the audit trail in time.")


def _unsealed(seconds: float, interval: int) -> Iterator[Finding]:
    if seconds > interval * LATE_INTERVALS + LATE_SECONDS:
        yield error(
            "audit_not_sealed",
            f"An event of {seconds / 60:.0f} minutes ago has no checkpoint: one who can write to the database could "
            "change it unnoticed.",
            "Check that a server runs on this database, and look for errors of checkpoints in its log.",
        )
