"""Rows as typed structs, matched by column name, for the functions of a ``repository.py``.

A column that is missing in a statement is an error, not an empty value, even if the struct has a default: the defaults
of RFC 7591 apply when a client is registered, not when it is read.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec
import structlog

log = structlog.get_logger()

#: What :func:`known` returns.
Known = TypeVar("Known")
Row = TypeVar("Row", bound=msgspec.Struct)


def one(struct: type[Row], record: Mapping[str, Any] | None) -> Row | None:
    """Convert a row to a struct, or None if there is no row. Columns that the struct does not have are ignored.

    Args:
        record: a row of asyncpg, Piccolo or a coalesced query.

    Raises:
        msgspec.ValidationError: a column is missing, or its value has another type.
    """
    return _convert(struct, record) if record is not None else None


def many(struct: type[Row], records: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Convert rows to structs, as :func:`one` does."""
    return [_convert(struct, record) for record in records]


def known(read: Callable[[Mapping[str, Any]], Known], records: Iterable[Mapping[str, Any]], kind: str) -> list[Known]:
    """Convert rows, without those with a value that only a newer release knows, as while replicas are replaced and
    after a downgrade. One of them must not keep all others from being loaded.

    For records that allow something: one that is left out allows nothing. The log has it.

    Args:
        read: converts a row.
        kind: what they are, for the log.
    """
    found = []
    for record in records:
        try:
            found.append(read(record))
        except msgspec.ValidationError:
            log.error("record_not_usable", kind=kind)  # noqa: TRY400 -- the text of the exception may quote a value
    return found


def _convert(struct: type[Row], record: Mapping[str, Any]) -> Row:
    values = dict(record)
    # Without defaults, msgspec refuses it.
    if struct.__struct_defaults__ and (missing := set(struct.__struct_encode_fields__) - values.keys()):
        raise msgspec.ValidationError(f"The statement lacks the columns {', '.join(sorted(missing))}.")
    return msgspec.convert(values, struct)
