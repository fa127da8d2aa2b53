"""What must not be lost is written as soon as the database allows it, or the log says that it is not."""

import pytest
from structlog.testing import capture_logs

from idp.infra.db import retries
from idp.infra.db.outages import DatabaseUnavailableError


class Write:
    """Fails so many times with an error."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.failures, self.error, self.calls = failures, error, 0

    async def __call__(self) -> None:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "WAITS", (0.0, 0.0))


@pytest.mark.parametrize(
    ("failures", "error", "calls", "events"),
    [
        (0, DatabaseUnavailableError(), 1, []),
        (2, DatabaseUnavailableError(), 3, [("outbox_failed", "warning")]),
        (9, DatabaseUnavailableError(), 3, [("outbox_failed", "warning"), ("delivery_not_recorded", "error")]),
        (9, KeyError("a fault"), 1, [("delivery_not_recorded", "error")]),
    ],
    ids=["at once", "after an outage", "a long outage", "a fault"],
)
async def test_a_write(failures: int, error: Exception, calls: int, events: list[tuple[str, str]]) -> None:
    write = Write(failures, error)
    with capture_logs() as logs:
        await retries.write(write, waiting="outbox_failed", not_done="delivery_not_recorded")
    assert write.calls == calls
    assert [(line["event"], line["log_level"]) for line in logs] == events
