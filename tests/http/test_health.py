"""Readiness reports every reason for which the server is not ready, and warnings for the operator."""

from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from idp.http import health
from idp.infra.db import cache_invalidation, outages
from idp.infra.db.cache_invalidation import Watch
from idp.infra.db.engine import close_pool
from tests.support.isolated import own_database

__all__ = ["own_database"]

pytestmark = [pytest.mark.fault(41), pytest.mark.usefixtures("own_database")]


@pytest.fixture(autouse=True)
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """All is well."""
    found = Watch({})
    found.listening = True
    monkeypatch.setattr(cache_invalidation, "_current", found)
    monkeypatch.setattr(outages, "_observed", {})
    monkeypatch.setattr(health, "CHECKS", {"keys": lambda: True})
    monkeypatch.setattr(health, "WARNINGS", {})
    return found


async def _ready() -> tuple[int | None, dict[str, Any]]:
    response = await health.ready.fn(None)
    return response.status_code, response.content


async def test_all_is_well() -> None:
    status, found = await _ready()
    assert (status, found["status"], found["reasons"], found["warnings"]) == (200, "ok", [], [])


async def test_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(health.CHECKS, "keys", lambda: False)
    status, found = await _ready()
    assert (status, found["status"], found["reasons"]) == (503, "unavailable", ["keys"])


async def test_records_in_memory_are_stale(watch: Watch) -> None:
    watch._current_at -= 60
    status, found = await _ready()
    assert (status, found["reasons"]) == (503, ["reload"])
    assert found["reload_age"] >= 60


@pytest.mark.fault(45)
@pytest.mark.parametrize("seconds", [-60, 60])
async def test_the_clock_differs(watch: Watch, seconds: int) -> None:
    watch.skew = timedelta(seconds=seconds)
    status, found = await _ready()
    assert (status, found["warnings"], found["clock_skew"]) == (200, ["clock"], seconds)


@pytest.mark.fault(40)
async def test_notices_do_not_arrive(watch: Watch) -> None:
    watch.listening = False
    status, found = await _ready()
    assert (status, found["warnings"]) == (200, ["notices"])


@pytest.mark.parametrize("error", [asyncpg.DiskFullError("full"), asyncpg.TooManyConnectionsError("many")])
async def test_a_request_failed_for_want_of_resources(error: asyncpg.PostgresError) -> None:
    found = outages.outage(error)
    assert found is not None
    outages.observe(found)
    status, answer = await _ready()
    assert (status, answer["reasons"]) == (503, ["database_resources"])


async def test_the_database_is_down() -> None:
    await close_pool()
    status, found = await _ready()
    assert (status, found["reasons"]) == (503, ["database"])
