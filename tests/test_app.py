"""The start of a worker."""

import asyncio
import gc
from typing import Any

import pytest

from idp import app
from idp.infra.db.readiness import readiness
from tests.support.isolated import isolated
from tests.support.postgres import Cluster


async def test_the_collector_waits_for_the_start_alone(
    cluster: Cluster, template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objects of the start are frozen; those of requests are collected."""

    async def is_open(*_: object) -> None: ...

    for name in ("open_pool", "close_pool"):
        monkeypatch.setattr(app, name, is_open)
    gc.disable()
    nobody: Any = None
    try:
        async with isolated(await cluster.create_database(template)), app.lifespan(nobody):
            assert gc.isenabled()
            assert gc.get_freeze_count()
    finally:
        gc.enable()
        gc.unfreeze()


@pytest.mark.fault(39)
async def test_a_database_that_hangs_does_not_hold_a_start_up(
    cluster: Cluster, template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker serves without it, and joins when it answers."""
    answers, joined = asyncio.Event(), asyncio.Event()

    async def hangs(*_: object) -> None:
        await answers.wait()

    async def closed() -> None: ...

    monkeypatch.setattr(app, "open_pool", hangs)
    monkeypatch.setattr(app, "close_pool", closed)
    monkeypatch.setattr(app, "FIRST_ATTEMPT_SECONDS", 0.01)
    monkeypatch.setattr(app, "_log_serving", joined.set)
    nobody: Any = None
    try:
        async with isolated(await cluster.create_database(template)), app.lifespan(nobody):
            assert not readiness.joined
            answers.set()
            async with asyncio.timeout(20):
                await joined.wait()
            assert readiness.joined
    finally:
        readiness.joined = True
        gc.enable()
        gc.unfreeze()
