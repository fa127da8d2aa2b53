"""JSON of other parties is decoded, or refused by one kind of error."""

import pytest

from idp.infra import foreign_json


def test_values_are_converted() -> None:
    assert foreign_json.decode(b'{"a": [1, "\xc3\xa9"]}') == {"a": [1, "é"]}
    assert foreign_json.decode('["a"]', list[str]) == ["a"]


@pytest.mark.parametrize(
    "data", [b"", b"{", b"NaN", b'"\xff"', b'"\\ud800"', b"[" * 50_000, b"[" * 50_000 + b"]" * 50_000]
)
def test_what_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        foreign_json.decode(data)


def test_the_depth_is_bounded() -> None:
    """What is near the limit of the recursion could be decoded, and not encoded as a part of another value."""
    at, inside = foreign_json.MAX_DEPTH, foreign_json.MAX_DEPTH + 1
    foreign_json.decode("[" * inside + "]" * inside)
    for data in (
        "[" * (at + 2) + "]" * (at + 2),
        '{"a":' * (at + 2) + "1" + "}" * (at + 2),
        "[" * 50_000 + "]" * 50_000,
    ):
        with pytest.raises(ValueError, match=r"^it is nested too deeply$"):
            foreign_json.decode(data)


@pytest.mark.parametrize("data", [b"[]", b"1", b'{"a": ' + b"[" * 50_000])
def test_another_type_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        foreign_json.decode(data, dict[str, object])
