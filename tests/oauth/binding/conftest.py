import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from idp import clock
from idp.keys import vault
from idp.oauth.binding import nonces


@pytest.fixture
def unlocked() -> Iterator[None]:
    """A root key, from which the key of nonces is derived."""
    before = vault._root_key
    vault.unlock(bytes(range(32)))
    yield
    vault.unlock(before)


@pytest.fixture
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clock in the middle of the current step of nonces. `move_clock` still moves it."""
    middle = datetime.fromtimestamp(time.time() // nonces.STEP * nonces.STEP + nonces.STEP / 2, UTC)
    monkeypatch.setattr(clock, "system", lambda: middle)
