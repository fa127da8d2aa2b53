"""What only observes: metrics, records for support, events outside of transactions, texts for other systems.

An observer that fails must not fail what it observes. Its code runs in a block of :class:`observing`, which logs and
counts the error. Metrics and logs do the same for themselves.
"""

import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import wraps
from types import TracebackType
from typing import ParamSpec, TypeVar

import asyncpg
import structlog

from idp.infra import logs
from idp.infra.logs import exception_fields

log = structlog.get_logger()

#: Seconds between two log lines on failures of one observer.
LOG_SECONDS = 60.0

Row = TypeVar("Row")
Parameters = ParamSpec("Parameters")

_failures = Counter[str]()
_logged: dict[str, float] = {}


class observing:  # noqa: N801 -- used like a function
    """A block, or a function without a result, whose errors are logged once a minute, counted, and end there.

    Args:
        observer: what it belongs to, such as ``flow_recorder``: the label of the metric.
    """

    def __init__(self, observer: str) -> None:
        self.observer = observer

    def __call__(self, function: Callable[Parameters, object]) -> Callable[Parameters, None]:
        # Not a block of itself, because every request calls several such functions.
        @wraps(function)
        def observed(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
            try:
                function(*args, **kwargs)
            except Exception as error:
                if not self._end(error):
                    raise

        return observed

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        return isinstance(error, Exception) and self._end(error)

    def _end(self, error: Exception) -> bool:
        """Return whether an error ends here. Tests see every failure."""
        if logs.strict:
            return False
        failed(self.observer, error)
        return True


def failed(observer: str, error: Exception) -> None:
    """Count a failure of an observer, and log it if none was logged within a minute."""
    _failures[observer] += 1
    now = time.monotonic()
    if now - _logged.get(observer, -LOG_SECONDS) >= LOG_SECONDS:
        _logged[observer] = now
        log.error("observer_failed", kind=observer, **exception_fields(error))


async def written(write: Callable[[list[Row]], Awaitable[object]], rows: list[Row], observer: str) -> None:
    """Write rows by one statement, or one by one if the database refuses the values of one of them.

    A row that is refused is given up: it would be refused each time, and hold up all others.

    Raises:
        Exception: they cannot be written now.
    """
    try:
        await write(rows)
    except asyncpg.DataError as error:
        if len(rows) == 1:
            failed(observer, error)
            return
        for row in rows:
            await written(write, [row], observer)


def take_failures() -> dict[str, int]:
    """Return the number of failures of each observer since the last call."""
    taken = _failures + logs.failures
    _failures.clear()
    logs.failures.clear()
    return dict(taken)
