from collections.abc import Iterator

import pytest

from idp.keys import vault


@pytest.fixture
def unlocked() -> Iterator[None]:
    """A root key, from which the key of nonces is derived."""
    before = vault._root_key
    vault.unlock(bytes(range(32)))
    yield
    vault.unlock(before)
