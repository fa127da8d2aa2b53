"""Identifiers: ordered by the time of their creation."""

import time
from uuid import RFC_4122

import pytest

from idp import ids

NANOSECONDS = 1_800_000_000_123_456_789


def test_ids_of_one_millisecond_are_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(range(NANOSECONDS, NANOSECONDS + 100_000_000, 250))
    monkeypatch.setattr(time, "time_ns", lambda: next(times))
    made = [ids.uuid7() for _ in range(4_000)]
    assert made == sorted(set(made))


def test_an_id_has_the_layout_of_version_7(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: NANOSECONDS)
    first, second = ids.uuid7(), ids.uuid7()
    assert first != second
    assert (first.version, first.variant) == (7, RFC_4122)
    assert first.int >> 80 == NANOSECONDS // 1_000_000
    assert first.int >> 64 == second.int >> 64
    assert first.int >> 64 & 0xFFF == 456_789 * 4096 // 1_000_000
