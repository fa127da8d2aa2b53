"""Health checks for operators and load balancers."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from litestar import Request, Response, get

from idp.http.access import Access
from idp.http.middleware import ALWAYS
from idp.infra.db import cache_invalidation, outages
from idp.infra.db.engine import is_writable
from idp.infra.db.readiness import WITHOUT_DATABASE, readiness
from idp.settings import settings

READY_TIMEOUT_SECONDS = 2.0
NO_STORE = {"Cache-Control": "no-store"}

#: Records in memory are stale if no reload succeeded for this many intervals plus these seconds.
STALE_INTERVALS, STALE_SECONDS = 3, 10.0
#: Difference from the database's clock, in seconds, above which there is a warning.
SKEW_SECONDS = 5.0
#: Seconds for which the server is not ready after a request failed for lack of disk, memory or connections.
LACKING_SECONDS = 15.0

#: Further conditions of readiness, by the reason that is reported when one does not hold. Set by the application.
CHECKS: dict[str, Callable[[], bool]] = {}
#: Conditions that an operator should check, by the warning that is reported. Set by the application.
WARNINGS: dict[str, Callable[[], bool]] = {}


@get("/health/live", opt={"access": Access.PUBLIC, "quiet": ALWAYS} | WITHOUT_DATABASE)
async def live(_: Request[Any, Any, Any]) -> Response[dict[str, str]]:
    """Liveness: the process answers. If it does not, restart it."""
    return Response({"status": "ok"}, headers=NO_STORE)


@get("/health/ready", opt={"access": Access.PUBLIC, "quiet": ALWAYS} | WITHOUT_DATABASE)
async def ready(_: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
    """Readiness: the process can serve sign-ins and tokens. If it cannot, send traffic elsewhere and wait.

    ``reasons`` say why it is not ready; ``warnings`` do not affect readiness.
    """
    reasons = await _database_reasons()
    reasons += [reason for reason, holds in CHECKS.items() if not holds()]
    warnings = [warning for warning, holds in WARNINGS.items() if holds()]
    details: dict[str, float] = {}
    watch = cache_invalidation.current()
    if watch is not None:
        if watch.age > STALE_SECONDS + STALE_INTERVALS * settings().reload_interval:
            reasons.append("reload")
        if watch.listening is False:
            warnings.append("notices")
        skew = watch.skew.total_seconds()
        if abs(skew) > SKEW_SECONDS:
            warnings.append("clock")
        details = {"reload_age": round(watch.age, 1), "clock_skew": round(skew, 1)}
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    answer = {"status": "unavailable" if reasons else "ok", "reasons": reasons, "warnings": warnings, **details}
    return Response(answer, status_code=status, headers=NO_STORE)


async def _database_reasons() -> list[str]:
    try:
        readiness.require({})
        async with asyncio.timeout(READY_TIMEOUT_SECONDS):
            writable = await is_writable()
    except Exception as error:
        found = outages.outage(error) or outages.LOST
        return [found.reason]
    if not writable:
        return [outages.READ_ONLY.reason]
    if outages.observed(outages.RESOURCES, LACKING_SECONDS):
        return [outages.RESOURCES.reason]
    return []


ROUTES = [live, ready]
