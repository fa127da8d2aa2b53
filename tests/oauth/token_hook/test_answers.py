"""Answers are read strictly."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp.accounts.claims import PROTECTED_CLAIMS
from idp.oauth.claims.models import Place
from idp.oauth.token_hook.answers import DeniedError, InvalidAnswerError, read

PLACES = (Place.ACCESS_TOKEN, Place.ID_TOKEN)


def _claims(content: Any) -> bytes:
    return json.dumps({"claims": {"access_token": content}}).encode()


def test_valid_answers() -> None:
    assert read(b"{}", PLACES) == {}
    assert read(b'{"claims": {}}', PLACES) == {}
    content = {"tier": "gold", "urn:x/y.z": [1, 2.5, True, {"a": None}], "n": 0, "text": "ünï"}
    assert read(_claims(content), PLACES) == {Place.ACCESS_TOKEN: content}


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"null", b"{", b'"x"', b"{}x", b"\xff", b'{"claims": {}, "claims": {}}', b'{"other": 1}',
        b'{"claims": []}', b'{"claims": {"userinfo": {}}}', b'{"claims": {"access_token": []}}',
        b'{"claims": {"access_token": {"a": 1, "a": 2}}}', b'{"claims": {"access_token": {"a": NaN}}}',
        b'{"claims": {"access_token": {"a": 1e999}}}', b'{"claims": {"access_token": {"a": "\\u0000"}}}',
        b'{"claims": {"access_token": {"a": "\\ud800"}}}', b'{"claims": {"access_token": {"a": {"\\u0000": 1}}}}',
        b"[" * 100_000, b'{"claims": {"access_token": {"a": ' + b"1" * 5000 + b"}}}",
        _claims({"a": None}), _claims({"": 1}), _claims({"a b": 1}), _claims({"_claim_names": {}}), _claims({"é": 1}),
        _claims({"a" * 101: 1}), _claims({f"c{n}": 1 for n in range(51)}), _claims({"a": "x" * 5000}),
        _claims({"a": [[[[[[1]]]]]]}), _claims({"a": 2**60}), _claims({"__proto__": 1}),
    ],
)  # fmt: skip
def test_invalid_answers(body: bytes) -> None:
    with pytest.raises(InvalidAnswerError):
        read(body, PLACES)


@pytest.mark.parametrize("name", sorted({*PROTECTED_CLAIMS, "email", "email_verified", "phone_number", "SUB", "Email"}))
def test_protected_claims(name: str) -> None:
    with pytest.raises(InvalidAnswerError):
        read(_claims({name: "x"}), PLACES)


@pytest.mark.parametrize(
    ("deny", "reason"),
    [({"reason": "No."}, "No."), (None, ""), (False, ""), ("plain", "plain"), ({"reason": 7}, ""), ([], ""),
     ({"reason": "a\0b\nc"}, "abc"), ({"reason": "x" * 999}, "x" * 200)],
)  # fmt: skip
def test_a_denial_is_one_whatever_it_looks_like(deny: Any, reason: str) -> None:
    for more in ({}, {"claims": {"access_token": {"sub": "x"}}}, {"unknown": 1}):
        with pytest.raises(DeniedError) as denied:
            read(json.dumps(more | {"deny": deny}).encode(), PLACES)
        assert str(denied.value) == reason


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=20,
)


@given(st.binary(max_size=200) | _json.map(lambda value: json.dumps(value).encode()) | _json.map(_claims))
def test_nothing_else_is_raised(body: bytes) -> None:
    try:
        found = read(body, PLACES)
    except (InvalidAnswerError, DeniedError):
        return
    assert all(name.lower() not in PROTECTED_CLAIMS for claims in found.values() for name in claims)
