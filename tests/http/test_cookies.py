"""The Set-Cookie headers."""

from http.cookies import SimpleCookie

import pytest

from idp.http import cookies


@pytest.mark.parametrize("value", ["", "0123456789_-abcXYZ" * 3, "a.b-c_d~e", "post=1&logout=%2F%22"])
@pytest.mark.parametrize("max_age", [None, 0, 3600])
def test_a_browser_can_parse_the_cookie(value: str, max_age: int | None) -> None:
    name, header = cookies.make("test", value, max_age=max_age).to_encoded_header()
    assert name == b"set-cookie"
    morsel = SimpleCookie(header.decode())["__Host-test"]
    assert morsel.value == value
    assert morsel["max-age"] == ("" if max_age is None else str(max_age))
    assert (morsel["path"], morsel["samesite"], morsel["domain"]) == ("/", "lax", "")
    assert morsel["secure"]
    assert morsel["httponly"]


@pytest.mark.parametrize("value", ["a b", 'a"b', "a;b", "a,b", "a\\b", "a\r\nb", "\u00e9"])
def test_characters_that_end_a_value_are_refused(value: str) -> None:
    """A header is written as it is."""
    with pytest.raises(ValueError, match="quotes"):
        cookies.make("test", value, max_age=None)
