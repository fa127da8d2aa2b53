"""A receiver for token hooks."""

from collections.abc import AsyncIterator

import pytest

from tests.support.receivers import Receivers


@pytest.fixture
async def receivers() -> AsyncIterator[Receivers]:
    async with Receivers() as receivers:
        yield receivers
