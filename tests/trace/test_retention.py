"""Recorded days are dropped after the retention, and before it if there are too many."""

import secrets
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from idp import clock, ids
from idp.infra.db import partitions
from idp.infra.db.engine import fetch
from idp.settings import settings
from idp.trace import buffer, repository, worker
from idp.trace.buffer import _row
from tests.support.isolated import own_database
from tests.trace.test_buffer import recorded

__all__ = ["own_database"]

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def at_a_known_time(own_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database without recorded days, at a known time."""
    monkeypatch.setattr(clock, "now", lambda: NOW)
    for name in ("LOCK_TIMEOUT_MS", "STATEMENT_TIMEOUT_MS"):
        monkeypatch.setattr(partitions, name, 60_000)
    monkeypatch.setattr(buffer, "full", False)


async def add(moment: datetime, size: int = 0) -> str:
    """Add a request of a moment, with a text that does not compress. Returns its id."""
    key = UUID(int=int(moment.timestamp() * 1000) << 80 | ids.uuid7().int & ((1 << 80) - 1))
    request = recorded(id=key, at=moment)
    row = list(_row(request))
    row[-1] = f'["{secrets.token_hex(size)}"]' if size else "[]"
    await repository.insert([tuple(row)])
    return request.request_id


async def left() -> set[str]:
    return {row["request_id"] for row in await fetch("SELECT request_id FROM trace")}


async def days() -> list[str]:
    return [f"{day:%m%d}" for day, _ in await repository.days()]


async def test_days_are_made_ahead_and_dropped() -> None:
    """Whole days are dropped; rows of a day that had no partition are deleted."""
    await repository.create_days(NOW - 9 * DAY)
    dropped = await add(NOW - 9 * DAY)
    unplaced = await add(NOW - 30 * DAY)
    kept = await add(NOW - 7 * DAY)
    assert await days() == ["1121", "1122", "1123"]
    await worker.tidy()
    assert await left() == {kept}
    assert await days() == ["1123", "1130", "1201", "1202"]
    assert dropped != unplaced


async def test_without_a_retention_nothing_but_this_day_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    off = settings().model_copy(update={"trace_retention": 0})
    monkeypatch.setattr(worker, "settings", lambda: off)
    await repository.create_days(NOW - 2 * DAY)
    await add(NOW - 2 * DAY)
    today = await add(NOW)
    await worker.tidy()
    assert await left() == {today}


async def test_the_oldest_days_are_dropped_if_there_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    small = settings().model_copy(update={"trace_max_size": 1})
    monkeypatch.setattr(worker, "settings", lambda: small)
    await repository.create_days(NOW - 2 * DAY)
    await add(NOW - 2 * DAY, 600_000)
    yesterday = await add(NOW - DAY)
    await worker.tidy()
    assert await left() == {yesterday}
    assert not buffer.full
    await add(NOW, 600_000)
    await worker.tidy()
    assert buffer.full
    monkeypatch.setattr(clock, "now", lambda: NOW + DAY)
    await worker.tidy()
    assert not buffer.full
