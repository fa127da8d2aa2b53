"""`/admin/health`: the checks of `idp doctor` that call no other server."""

import asyncio
from collections import Counter
from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

import msgspec
from litestar import Response

from idp import clock
from idp.admin.console.components import Cell, Table, exactly, facts
from idp.admin.console.screen import AdminRequest, render, screen
from idp.admin.roles import Permission
from idp.doctor.checks import CHECKS
from idp.doctor.examination import examine
from idp.doctor.models import Context, Level, Needs, Result
from idp.infra.db.readiness import readiness
from idp.settings import settings

#: Seconds for which a worker shows a result again, however often the page is loaded.
KEPT_SECONDS = 30.0
#: Seconds for each check, and those that run at once: requests of users use the same connections.
SECONDS, AT_ONCE = 5.0, 2
#: What an admin has to be allowed for the results of a check, besides the page itself.
NEEDED = {
    "clients": Permission.CLIENTS_READ,
    "signing_keys": Permission.KEYS_READ,
    "mail_queue": Permission.OUTBOX_READ,
    "deliveries": Permission.OUTBOX_READ,
    "audit": Permission.AUDIT_READ,
}
_MOODS = {Level.OK: "good", Level.NOTE: "plain", Level.WARNING: "bad", Level.ERROR: "bad"}


class _Examination(NamedTuple):
    at: datetime
    results: list[Result]


class _Doctor:
    """The last examination of this worker. Requests at the same moment share one."""

    def __init__(self) -> None:
        self._last: _Examination | None = None
        self._lock = asyncio.Lock()

    async def latest(self) -> _Examination:
        async with self._lock:
            if self._last is None or (clock.now() - self._last.at).total_seconds() > KEPT_SECONDS:
                self._last = _Examination(clock.now(), await _examine())
            return self._last


_doctor = _Doctor()


async def _examine() -> list[Result]:
    checks = [
        msgspec.structs.replace(check, seconds=SECONDS) for check in CHECKS if check.console and not check.network
    ]
    provides = Needs.RECORDS if readiness.joined else Needs.SETTINGS
    return await examine(checks, Context(settings=settings(), provides=provides, network=False), at_once=AT_ONCE)


def _visible(results: list[Result], allowed: Collection[Permission]) -> list[Result]:
    return [one for one in results if one.check not in NEEDED or NEEDED[one.check] in allowed]


async def counts(allowed: Collection[Permission]) -> dict[Level, int]:
    """Return how many findings of each level an admin with these permissions sees."""
    results = _visible((await _doctor.latest()).results, allowed)
    return Counter(one.level for result in results for one in result.findings)


@screen("GET", "/health", Permission.SETTINGS_READ)
async def health(request: AdminRequest) -> Response[str]:
    found = await _doctor.latest()
    allowed = request.caller.allowed
    shown = _visible(found.results, allowed)
    bad = [(result, one) for result in shown for one in result.findings if one.level is not Level.OK]
    bad.sort(key=lambda pair: pair[1].level.severity, reverse=True)
    wrong = [
        [Cell(one.level, mood=_MOODS[one.level]), Cell(f"{result.title}: {one.text}"), Cell(one.mend)]
        for result, one in bad
    ]
    well = [
        [Cell(result.title), Cell(one.text)] for result in shown for one in result.findings if one.level is Level.OK
    ]
    return render(
        request,
        "record",
        section="health",
        heading="Health",
        intro="These checks call no other server. The command idp doctor also examines the proxy, TLS, cookies,"
        " DNS, mail and the systems that this server calls.",
        facts=facts({"Examined": exactly(found.at), "Checks": str(len(shown))}),
        tables=[
            Table("What needs attention", ("Level", "Finding", "What to do"), wrong, "Nothing."),
            Table("What works", ("Check", "Result"), well),
        ],
    )
