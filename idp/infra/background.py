"""Background tasks of a worker."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog

from idp.infra.logs import exception_fields

log = structlog.get_logger()

#: Seconds until a task that failed is started again, half as many more at random.
RESTART_SECONDS = 5.0


async def kept_running(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run a task until it returns or is cancelled, and start it again when it fails.

    Each task handles the errors that it knows, such as an outage of the database. Another one must not end it for as
    long as the worker lives.
    """
    while True:
        try:
            return await run()
        except Exception as error:
            # Not log.exception: the text of an exception may quote anything.
            log.error("background_task_failed", kind=name, **exception_fields(error))  # noqa: TRY400
        await asyncio.sleep(RESTART_SECONDS * random.uniform(1, 1.5))  # noqa: S311
