"""Writes that outlive an outage of the database."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from idp.infra.db import outages
from idp.infra.logs import exception_fields

log = structlog.get_logger()

#: Waits between attempts: five minutes in all.
WAITS = (0.1, *[1.0] * 300)


async def write(do: Callable[[], Awaitable[object]], *, waiting: str, not_done: str) -> None:
    """Write to the database, again while it is not available. Raises nothing.

    Args:
        waiting: the log event of the first failure in an outage.
        not_done: the log event if nothing is written, because the outage is too long or the error is another one.
    """
    for attempt, wait in enumerate((*WAITS, None)):
        try:
            await do()
        except Exception as error:
            if wait is None or outages.outage(error) is None:
                log.error(not_done, **exception_fields(error))  # noqa: TRY400
                return
            if attempt == 0:
                log.warning(waiting, **exception_fields(error))
            await asyncio.sleep(wait)
        else:
            return
