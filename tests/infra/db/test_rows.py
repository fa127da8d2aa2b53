"""Rows as structs: a column that a statement forgets is an error."""

from typing import Any

import msgspec
import pytest

from idp.admin.api.models.base import Shown
from idp.infra.db.rows import many, one
from idp.oauth.clients.models import Client, StoredResourceServer


class Strict(msgspec.Struct):
    a: int
    b: str | None


class Lenient(msgspec.Struct):
    a: int
    b: str | None = None
    c: list[str] = []


@pytest.mark.parametrize("struct", [Strict, Lenient, Client, StoredResourceServer])
def test_every_column_is_needed(struct: type[msgspec.Struct]) -> None:
    """A default is for a new record; a row has every value."""
    for name in struct.__struct_fields__:
        record: dict[str, Any] = dict.fromkeys(struct.__struct_fields__)
        del record[name]
        with pytest.raises(msgspec.ValidationError):
            one(struct, record)
        with pytest.raises(msgspec.ValidationError):
            many(struct, [record])


def test_more_columns_are_left_out() -> None:
    record = {"a": 1, "b": None, "c": ["x"], "d": object()}
    assert one(Strict, record) == Strict(1, None)
    assert many(Lenient, [record, record]) == [Lenient(1, None, ["x"])] * 2
    assert one(Lenient, None) is None


def test_the_missing_columns_are_named() -> None:
    with pytest.raises(msgspec.ValidationError, match="the columns b, c"):
        one(Lenient, {"a": 1})


def test_what_the_admin_api_shows_has_no_defaults() -> None:
    """Its bodies are read from the rows of lists."""
    assert [kind for kind in Shown.__subclasses__() if kind.__struct_defaults__] == []
