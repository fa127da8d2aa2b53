"""Which values an attribute accepts."""

import time
from typing import Any

import pytest

from idp.accounts.attributes.declaration import check
from idp.accounts.attributes.errors import InvalidValueError
from idp.accounts.attributes.models import Attribute
from idp.accounts.attributes.values import MAX_NUMBER, checked, parse, parse_each


def make(type: str, **declared: Any) -> Attribute:
    return check({"name": "a", "type": type, "label": {"default": "A"}} | declared)


ACCEPTED: list[tuple[Attribute, Any, Any]] = [
    (make("string"), " Sales ", "Sales"),
    (make("string"), "A\u030angstro\u0308m", "Ångström"),
    (make("string"), "x" * 1000, "x" * 1000),
    (make("string", pattern="[A-Z]{2}-[0-9]+|none"), "DE-17", "DE-17"),
    (make("string", min_length=2, max_length=3), "abc", "abc"),
    (make("integer", minimum=-5), -5, -5),
    (make("integer"), MAX_NUMBER, MAX_NUMBER),
    (make("number", maximum=1.5), 1.5, 1.5),
    (make("number"), 2, 2.0),
    (make("boolean"), False, False),
    (make("date", minimum="1900-01-01"), "2024-02-29", "2024-02-29"),
    (make("email"), "Alice@EXAMPLE.com", "alice@example.com"),
    (make("url"), "https://example.com/me", "https://example.com/me"),
    (make("choice", choices=["red", "blue"]), "blue", "blue"),
]
HOSTILE = ["a\0b", "a\nb", "a\u202eb", "a\u200bb", "\u3164", "\ud800", "x" * 1001, " ", "\u2028"]
REFUSED: list[tuple[Attribute, Any]] = [
    *((make("string"), value) for value in (*HOSTILE, 1, True, {"a": 1}, ["a"], 1.5)),
    *((make("string", pattern="[A-Z]{2}-[0-9]+|none"), value) for value in ("xDE-17", "DE-17x", "DE-", "nonex")),
    *((make("string", min_length=2, max_length=3), value) for value in ("a", "abcd")),
    *((make("integer"), value) for value in (1.0, 1.5, True, "1", MAX_NUMBER + 1, -MAX_NUMBER - 1, 10**400)),
    *((make("integer", minimum=1, maximum=3), value) for value in (0, 4)),
    *((make("number"), value) for value in (float("nan"), float("inf"), 1e300, 10**400, True, "1.5")),
    *((make("number", minimum=0.5), value) for value in (0, 0.4)),
    *((make("boolean"), value) for value in (0, 1, "true")),
    *(
        (make("date"), value)
        for value in ("2023-02-29", "2024-1-1", "20240101", "2024-01-01T00:00", "\u0662\u0660\u0662\u0664-01-01", 2024)
    ),
    *((make("date", minimum="1900-01-01", maximum="2000-12-31"), value) for value in ("1899-12-31", "2001-01-01")),
    *((make("email"), value) for value in ("alice", "a@b@c", "alice@exam\u202eple.com", *HOSTILE)),
    *((make("url"), value) for value in ("javascript:alert(1)", "example.com", "https://", "https://a b", *HOSTILE)),
    *((make("choice", choices=["red", "blue"]), value) for value in ("Red", "green", 1, "red\0")),
]


@pytest.mark.parametrize(("attribute", "given", "stored"), ACCEPTED, ids=range(len(ACCEPTED)))
def test_what_is_accepted(attribute: Attribute, given: object, stored: object) -> None:
    (found,) = checked(attribute, given)
    assert (found, type(found)) == (stored, type(stored))


@pytest.mark.parametrize(("attribute", "given"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_refused(attribute: Attribute, given: object) -> None:
    with pytest.raises(InvalidValueError) as error:
        checked(attribute, given)
    assert error.value.field == "a"
    assert str(error.value).endswith(".")


def test_several_values() -> None:
    several = make("integer", multivalued=True)
    assert checked(several, [3, 1, 3]) == [3, 1]
    assert checked(several, list(range(50))) == list(range(50))
    for wrong in (3, list(range(51)), [1, "2"], [[1]], [None]):
        with pytest.raises(InvalidValueError):
            checked(several, wrong)


@pytest.mark.parametrize("nothing", [None, "", []])
@pytest.mark.parametrize("multivalued", [True, False])
def test_nothing_is_no_value(nothing: object, multivalued: bool) -> None:
    assert checked(make("string", multivalued=multivalued), nothing) == []


def test_text_of_forms_and_commands() -> None:
    assert parse(make("integer"), " 42 ") == 42
    assert parse(make("number"), "-1.50") == -1.5
    assert parse(make("boolean"), "Yes") is True
    assert parse(make("boolean"), "perhaps") == "perhaps"
    assert parse(make("integer"), "\u0664\u0662") == "\u0664\u0662"
    assert parse(make("date"), "") is None
    assert parse(make("integer", multivalued=True), "1\r\n\r\n 2 \n") == [1, 2]
    assert parse(make("integer", multivalued=True), "") == []
    assert parse_each(make("string"), ["a", "b"]) == ["a", "b"]  # which is refused: there may be one
    assert len(str(parse(make("string", multivalued=True), "x\n" * 10**6))) < 10**6


@pytest.mark.parametrize(
    "pattern", ["(a+)+b", "(a|a)*b", "(.*)*x", r"([\w.-]+)+@", "(x+x+)+y", "a{0,100}a{0,100}b", "(a?){50}a{50}"]
)
def test_patterns_take_linear_time(pattern: str) -> None:
    """Each of them takes longer than the age of the universe by backtracking."""
    attribute = make("string", pattern=pattern)
    began = time.process_time()
    for text in ("a" * 1000, "xa" * 500):
        with pytest.raises(InvalidValueError):
            checked(attribute, text)
    assert time.process_time() - began < 20
