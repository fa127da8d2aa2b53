"""Background tasks that fail are started again."""

import asyncio

import pytest
from structlog.testing import capture_logs

from idp.infra import background
from idp.infra.background import kept_running
from idp.infra.db.outages import DatabaseClosedError, DatabaseUnavailableError
from idp.infra.intervals import every


async def test_a_task_that_fails_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "RESTART_SECONDS", 0.0)
    attempts = 0

    async def run() -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise ZeroDivisionError("a secret")

    with capture_logs() as lines:
        await asyncio.wait_for(kept_running("example", run), 30)
    assert attempts == 3
    assert [(line["event"], line["kind"], line["error"]) for line in lines] == [
        ("background_task_failed", "example", "ZeroDivisionError")
    ] * 2
    assert "secret" not in str(lines)


async def test_a_task_that_is_cancelled_ends() -> None:
    task = asyncio.create_task(kept_running("example", asyncio.Event().wait))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_work_at_intervals_ends_quietly_with_the_database() -> None:
    """What a worker that stops has begun must not look like an outage."""
    calls = 0

    async def work() -> None:
        nonlocal calls
        calls += 1
        raise (DatabaseUnavailableError("down") if calls < 3 else DatabaseClosedError("closed"))

    with capture_logs() as lines:
        await asyncio.wait_for(every(0.0, work, failure="work_failed"), 30)
    assert calls == 3
    assert [line["error"] for line in lines] == ["DatabaseUnavailableError"]
