"""Nonces without storage (RFC 9449 section 8)."""

import pytest

from idp.keys import vault
from idp.oauth.binding import nonces
from tests.support.isolated import MoveClock, move_clock

__all__ = ["move_clock"]
pytestmark = pytest.mark.usefixtures("unlocked", "stopped_clock")


@pytest.mark.parametrize(("steps", "age"), [(-2, None), (-1, -1), (0, 0), (1, 1), (2, 2), (3, None), (1000, None)])
def test_a_nonce_lives_for_some_steps(move_clock: MoveClock, steps: int, age: int | None) -> None:
    """One step ahead is a replica whose clock is ahead."""
    move_clock(0)
    given = nonces._at(nonces.clock.timestamp() // nonces.STEP)
    assert nonces.current() == given
    move_clock(steps * nonces.STEP)
    assert nonces.age(given) == age


def test_another_server_has_other_nonces() -> None:
    given = nonces.current()
    vault.unlock(bytes(32))
    assert nonces.age(given) is None


@pytest.mark.parametrize("nonce", ["", "x", "\ud800", "é" * 24, "A" * 24, "A" * 100_000])
def test_anything_else_is_not_ours(nonce: str) -> None:
    assert nonces.age(nonce) is None
    assert nonces.age(nonces.current()[:-1]) is None
    assert nonces.age(nonces.current() + "=") is None
