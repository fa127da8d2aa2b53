"""Background work at intervals."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog

from idp.infra.db.outages import DatabaseClosedError
from idp.infra.logs import exception_fields

log = structlog.get_logger()


async def every(seconds: float, do: Callable[[], Awaitable[object]], *, failure: str, at_once: bool = False) -> None:
    """Call a function at intervals, until the database is closed. Intervals are random, so that workers do not all run
    at once.

    Args:
        failure: the log event of the first of several failures in a row.
        at_once: whether the first call is immediate.
    """
    failing = False
    while True:
        if not at_once:
            await asyncio.sleep(random.uniform(0.8, 1.2) * seconds)  # noqa: S311
        at_once = False
        try:
            await do()
            failing = False
        except DatabaseClosedError:
            return
        except Exception as error:
            if not failing:
                log.warning(failure, **exception_fields(error))
            failing = True
