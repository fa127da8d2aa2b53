"""The hashes of rows and the Merkle tree over them."""

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idp import ids
from idp.audit import row_hmac
from idp.audit.events import storable
from idp.audit.row_hmac import Row
from idp.infra.db.engine import fetchrow

ROW = Row(
    ids.uuid7(), datetime(2026, 11, 23, 18, 0, 0, 123456, tzinfo=UTC), "sign_in", "success", "cli:root", ids.uuid7(),
    "shop", ids.uuid7(), "2001:db8::1", "0123", '{"a": 1, "b": [true, null, "x"]}',
)  # fmt: skip


@pytest.fixture(autouse=True)
def sealed(db: str) -> None:
    """The root key is open."""


def with_detail(detail: str) -> bytes:
    return row_hmac.content_hash(ROW._replace(detail=detail))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", ids.uuid7()), ("at", ROW.at.replace(microsecond=123457)), ("event", "sign_out"), ("outcome", "failure"),
        ("actor", ""), ("user_id", None), ("client_id", ""), ("client_id", None), ("session_id", ids.uuid7()),
        ("ip_address", "2001:db8::2"), ("request_id", ""), ("detail", '{"a": 2, "b": [true, null, "x"]}'),
    ],
)  # fmt: skip
def test_every_column_is_hashed(name: str, value: Any) -> None:
    assert row_hmac.content_hash(ROW._replace(**{name: value})) != row_hmac.content_hash(ROW)


def test_columns_are_separated() -> None:
    moved = ROW._replace(event="sign_insuccess", outcome="")
    assert row_hmac.content_hash(moved) != row_hmac.content_hash(ROW)


def test_a_place_counts() -> None:
    content = row_hmac.content_hash(ROW)
    assert len({content, row_hmac.placed_hash(content, 1), row_hmac.placed_hash(content, 2)}) == 3


def test_the_order_of_members_does_not() -> None:
    assert with_detail('{"b":1,"a":{"d":2,"c":3}}') == with_detail('{ "a": {"c": 3, "d": 2}, "b": 1 }')


@pytest.mark.parametrize(
    "pair", [("1", "1.0"), ("1e3", "1000"), ("0.5", "0.50"), ("1e22", "1" + "0" * 22), ("-0.0", "0"), ("1e-2", "0.01")]
)
def test_the_notation_of_a_number_does_not_matter(pair: tuple[str, str]) -> None:
    assert with_detail(f'{{"a": {pair[0]}}}') == with_detail(f'{{"a": {pair[1]}}}')


@pytest.mark.parametrize("other", ['"1"', "1.5", "2", "true", "null", "[1]", "1.0000000000000000000001"])
def test_the_value_of_a_number_matters(other: str) -> None:
    assert with_detail('{"a": 1}') != with_detail(f'{{"a": {other}}}')


def test_without_the_master_key_nothing_is_sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_hmac, "_key", None)
    with pytest.raises(row_hmac.LockedError, match="IDP_MASTER_KEY"):
        row_hmac.content_hash(ROW)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(detail=st.dictionaries(st.text(), json_values, max_size=4))
@settings(max_examples=200)
async def test_postgresql_may_write_a_detail_as_it_likes(detail: dict[str, Any]) -> None:
    try:
        written = msgspec.json.encode(storable(detail)).decode()
    except OverflowError:
        return  # beyond 64 bits, which msgspec does not write
    row = await fetchrow("SELECT $1::jsonb::text AS detail", written)
    assert row is not None
    assert with_detail(row["detail"]) == with_detail(written)


def test_a_detail_that_we_would_never_write() -> None:
    """An attacker's row must be found, not end the search."""
    deep = "[" * 100_000 + "]" * 100_000
    assert len({with_detail(text) for text in (deep, "1" * 5000, "2" * 5000)}) == 3


def test_the_tree_is_that_of_the_rfc() -> None:
    """RFC 6962 section 2.1, defined by recursion there."""

    def tree(leaves: list[bytes]) -> bytes:
        if not leaves:
            return sha256().digest()
        if len(leaves) == 1:
            return sha256(b"\x00" + leaves[0]).digest()
        left = 1 << (len(leaves) - 1).bit_length() - 1
        return sha256(b"\x01" + tree(leaves[:left]) + tree(leaves[left:])).digest()

    leaves = [bytes([n]) for n in range(70)]
    for size in range(len(leaves)):
        assert row_hmac.merkle_root(leaves[:size]) == tree(leaves[:size])
