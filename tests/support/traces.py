"""Recorded flows, as soon as the server has written them."""

import asyncio
from typing import Any
from uuid import UUID

from idp.infra.db.engine import fetchrow
from idp.trace import reading
from idp.trace.reading import ShownRequest


async def traced(request_id: str) -> list[ShownRequest]:
    """Return the flow of a request, once the request is written."""
    async with asyncio.timeout(30):
        while True:
            found = await reading.flow(request_id)
            if any(each.request_id == request_id for each in found):
                return found
            await asyncio.sleep(0.05)


async def recorded(request_id: str) -> ShownRequest:
    """Return a request, once it is written."""
    return next(each for each in await traced(request_id) if each.request_id == request_id)


async def request_of(user_id: UUID) -> str:
    """Return the id of a request of a user, once one is written."""
    async with asyncio.timeout(30):
        while True:
            row = await fetchrow("SELECT request_id FROM trace WHERE user_id = $1", user_id)
            if row is not None:
                return str(row["request_id"])
            await asyncio.sleep(0.05)


def fields(request: ShownRequest, kind: str) -> dict[str, Any]:
    """Return the fields of the only step of this kind."""
    (found,) = [step.fields for step in request.steps if step.kind == kind]
    return found


def kinds(request: ShownRequest) -> list[str]:
    return [step.kind for step in request.steps]
