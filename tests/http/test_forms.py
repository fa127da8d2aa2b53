"""Reading parameters: one value per name, UTF-8 only; any other input raises InvalidRequestError."""

from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar, Request
from litestar.testing import RequestFactory

from idp.errors import InvalidRequestError
from idp.http import forms

#: An application that does not configure the logs of this process.
REQUESTS = RequestFactory(app=Litestar(logging_config=None))

#: Values that a browser can send: any text without lone surrogates, and without NUL, which is refused.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))

#: The parts of forms, and input that breaks parsers.
TRICKY = ("a", "b", "resource", "=", "&", ";", "%", "+", "%ff", "%ed%a0%80", "\0", "é", "\U0001f600")


def test_a_parameter_without_a_value_counts_as_absent() -> None:
    """RFC 6749 section 3.1."""
    assert forms.parse(b"a=1&b=&c&=x") == {"a": "1", "": "x"}


@pytest.mark.parametrize("text", ["a=1&a=2", "a=1&a=1", "a=1&a=", "a=&a=", "a&a", "a=1&b=2&%61=3"])
def test_none_may_be_repeated(text: str) -> None:
    """RFC 6749 section 3.1, whether or not the values differ or are empty."""
    with pytest.raises(InvalidRequestError, match="repeated"):
        forms.parse(text.encode())


def test_resource_may_be_repeated() -> None:
    """RFC 8707 section 2."""
    assert forms.parse(b"resource=https%3A%2F%2Fa&x=1&resource=https%3A%2F%2Fb") == {
        "resource": "https://a https://b",
        "x": "1",
    }


@pytest.mark.parametrize("text", ["a=%00", "%00=a", "a=b%00c", "a=\0", "resource=a&resource=%00"])
def test_nul_is_refused(text: str) -> None:
    """PostgreSQL has no place for it in a text."""
    with pytest.raises(InvalidRequestError, match="NUL"):
        forms.parse(text.encode())


@pytest.mark.parametrize("text", [b"a=%ff", b"a=%c0%af", b"a=%ed%a0%80", b"%ff=a", b"a=\xc3\xa9", b"a=%f5%80%80%80"])
def test_only_utf_8(text: bytes) -> None:
    """No invalid byte, no overlong form, no lone surrogate, and no unencoded character."""
    with pytest.raises(InvalidRequestError, match="UTF-8"):
        forms.parse(text)


def test_number_of_fields_is_bounded() -> None:
    fields = [f"f{number}=x" for number in range(forms.MAX_FIELDS)]
    assert len(forms.parse("&".join(fields).encode())) == forms.MAX_FIELDS
    with pytest.raises(InvalidRequestError, match="too many"):
        forms.parse("&".join([*fields, "one=more"]).encode())


def test_the_ampersand_is_the_only_separator() -> None:
    """The ampersand alone: a semicolon that another reader took for one would hide a parameter from us."""
    assert forms.parse(b"a=1;b=2&c=3+4%2B5") == {"a": "1;b=2", "c": "3 4+5"}
    assert forms.parse(b"a=b=c&d=%26e=1") == {"a": "b=c", "d": "&e=1"}
    assert forms.parse(b"a=%zz&b=100%") == {"a": "%zz", "b": "100%"}


@given(st.dictionaries(TEXT, TEXT, max_size=20))
def test_encoded_parameters_are_decoded(values: dict[str, str]) -> None:
    assert forms.parse(urlencode(values).encode()) == {name: value for name, value in values.items() if value}


@given(st.binary() | st.lists(st.sampled_from([*map(quote_plus, TRICKY), *TRICKY])).map("".join).map(str.encode))
def test_anything_is_read_or_refused(data: bytes) -> None:
    try:
        values = forms.parse(data)
    except InvalidRequestError:
        return
    for text in [*values.keys(), *values.values()]:
        assert "\0" not in text
        text.encode()


def _request(content_type: str | None, body: bytes) -> Request[Any, Any, Any]:
    headers = {} if content_type is None else {"Content-Type": content_type}
    request = REQUESTS.post("/", headers=headers)

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    request.receive = receive
    if content_type is None:
        request.scope["headers"] = [(n, v) for n, v in request.scope["headers"] if n != b"content-type"]
    return request


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded;charset=UTF-8",
        "APPLICATION/X-WWW-FORM-URLENCODED ; charset=utf-8",
    ],
)
async def test_forms_are_forms(content_type: str) -> None:
    assert await forms.form(_request(content_type, b"a=1")) == {"a": "1"}


@pytest.mark.parametrize(
    "content_type",
    [
        None, "", ";", "text/plain", "application/json", "multipart/form-data; boundary=x", "application/xml", "*/*",
        "application/x-www-form-urlencoded-not", "x-application/x-www-form-urlencoded",
        "text/plain; application/x-www-form-urlencoded", "application/x-www-form-urlencoded, text/plain",
    ],
)  # fmt: skip
async def test_nothing_else_is(content_type: str | None) -> None:
    """Bodies that a cross-site page can send without a preflight, except for the type of forms."""
    with pytest.raises(InvalidRequestError, match="application/x-www-form-urlencoded"):
        await forms.form(_request(content_type, b"a=1"))


def test_the_query_string_is_read_alike() -> None:
    request = REQUESTS.get("/")
    request.scope["query_string"] = b"a=1&b=&c=%C3%A9"
    assert forms.query(request) == {"a": "1", "c": "é"}
    request.scope["query_string"] = b"a=1&a=2"
    with pytest.raises(InvalidRequestError):
        forms.query(request)


MULTIPART = "multipart/form-data; boundary=b"


def _part(value: bytes, name: bytes = b"a", headers: bytes = b"") -> bytes:
    return b'--b\r\nContent-Disposition: form-data; name="' + name + b'"\r\n' + headers + b"\r\n" + value + b"\r\n"


@pytest.mark.parametrize("charset", ["nonsense", "rot13", "hex", "base64", "zlib", "utf-16", "unicode_escape"])
async def test_the_charset_of_a_part_is_ignored(charset: str) -> None:
    """Python has codecs that raise other errors, and ones whose texts cannot be encoded again."""
    headers = f"Content-Type: text/plain; charset={charset}\r\n".encode()
    body = _part(r"\ud800 é".encode(), headers=headers) + _part(b"", b"empty") + b"--b--\r\n"
    assert await forms.form_with_file(_request(MULTIPART, body)) == ({"a": r"\ud800 é"}, b"")


@pytest.mark.parametrize(
    "parts",
    [
        _part(b"\xff"), _part(b"\xed\xa0\x80"), _part(b"x", b"\xff"),
        _part(b"\0"), _part(b"x", b"a\0"), _part(b"x") + _part(b"y"), _part(b"x") * (forms.MAX_FIELDS + 1),
    ],
)  # fmt: skip
async def test_parts_are_checked_like_other_parameters(parts: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        await forms.form_with_file(_request(MULTIPART, parts + b"--b--\r\n"))
