"""What a worker does when it starts."""

import gc
from typing import Any

import pytest

from idp import app
from tests.support.isolated import isolated
from tests.support.postgres import Cluster


async def test_the_collector_waits_for_the_start_alone(
    cluster: Cluster, template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a start makes is not looked at again and again; what requests leave behind is."""

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
