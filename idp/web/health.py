"""Health checks for whoever runs the server."""

import asyncio

from litestar import Response, get

from idp.db.engine import fetchrow
from idp.db.standing import WITHOUT_DATABASE, standing
from idp.web.access import Access

READY_TIMEOUT_SECONDS = 2.0
NO_STORE = {"Cache-Control": "no-store"}


@get("/health/live", opt={"access": Access.PUBLIC} | WITHOUT_DATABASE)
async def live() -> Response[dict[str, str]]:
    """The process answers. If not, restart it."""
    return Response({"status": "ok"}, headers=NO_STORE)


@get("/health/ready", opt={"access": Access.PUBLIC} | WITHOUT_DATABASE)
async def ready() -> Response[dict[str, str]]:
    """The process can serve sign-ins and tokens. If not, send traffic elsewhere, and wait."""
    try:
        standing.require({})
        await asyncio.wait_for(fetchrow("SELECT 1"), READY_TIMEOUT_SECONDS)
    except Exception:
        return Response({"status": "unavailable", "reason": "database"}, status_code=503, headers=NO_STORE)
    return Response({"status": "ok"}, headers=NO_STORE)


ROUTES = [live, ready]
