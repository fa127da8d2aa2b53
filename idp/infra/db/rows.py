"""Rows as typed structs, matched by column name, for the functions of a ``repository.py``.

A struct of a row has no defaults: a column that a statement forgets is an error, not an empty value.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

Row = TypeVar("Row", bound=msgspec.Struct)


def one(struct: type[Row], record: Mapping[str, Any] | None) -> Row | None:
    """A row as a struct; None if there is no row. Columns that the struct does not name are left out.

    Args:
        record: of asyncpg, of Piccolo, or of a coalesced query.

    Raises:
        msgspec.ValidationError: a column is missing, or its value has another type.
    """
    return msgspec.convert(dict(record), struct) if record is not None else None


def many(struct: type[Row], records: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Rows as structs. As :func:`one`."""
    return [msgspec.convert(dict(record), struct) for record in records]
