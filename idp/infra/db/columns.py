"""The columns of our tables: Piccolo's columns without its defaults, and the column names for SQL.

Piccolo fills a missing column with ``''``, ``b''``, ``0`` or the time. These columns have no default unless one is
given, so creating a row without a value for a non-null column raises ``ValueError``.
"""

from typing import Any

from piccolo import columns
from piccolo.columns.base import OnDelete, OnUpdate
from piccolo.columns.defaults.timestamptz import TimestamptzNow
from piccolo.columns.reference import LazyTableReference
from piccolo.table import Table

__all__ = [
    "JSONB", "UUID", "Array", "BigInt", "Boolean", "Bytea", "DoublePrecision", "ForeignKey", "Integer", "OnDelete",
    "SmallInt", "Text", "Timestamptz", "TimestamptzNow", "all_columns",
]  # fmt: skip


class Array(columns.Array):
    def __init__(self, base_column: columns.Column, default: Any = None, **options: Any) -> None:
        super().__init__(base_column, default=default, **options)


class BigInt(columns.BigInt):
    def __init__(self, default: Any = None, **options: Any) -> None:
        super().__init__(default=default, **options)


class Boolean(columns.Boolean):
    def __init__(self, default: Any = None, **options: Any) -> None:
        super().__init__(default=default, **options)


class Bytea(columns.Bytea):
    def __init__(self, default: Any = None, **options: Any) -> None:
        super().__init__(default=default, **options)


class DoublePrecision(columns.DoublePrecision):
    def __init__(self, default: Any = None, **options: Any) -> None:
        super().__init__(default=default, **options)


class ForeignKey(columns.ForeignKey[Any]):
    """Not null by default. Keys never change, so there is no ON UPDATE action."""

    def __init__(
        self,
        references: type[Table] | LazyTableReference | str,
        on_delete: OnDelete = OnDelete.cascade,
        null: bool = False,
        **options: Any,
    ) -> None:
        options = {"on_update": OnUpdate.no_action} | options
        super().__init__(references, on_delete=on_delete, null=null, **options)


class Integer(columns.Integer):
    def __init__(self, default: Any = None, **options: Any) -> None:
        super().__init__(default=default, **options)


class JSONB(columns.JSONB):
    def __init__(self, default: Any = None, **options: Any) -> None:
        super().__init__(default=default, **options)


class SmallInt(columns.SmallInt):
    def __init__(self, default: Any = None, **options: Any) -> None:
        super().__init__(default=default, **options)


class Text(columns.Text):
    def __init__(self, default: Any = None, **options: Any) -> None:
        super().__init__(default=default, **options)


class Timestamptz(columns.Timestamptz):
    def __init__(self, default: Any = None, **options: Any) -> None:
        super().__init__(default=default, **options)


class UUID(columns.UUID):
    def __init__(self, default: Any = None, **options: Any) -> None:
        super().__init__(default=default, **options)


def all_columns(table: type[Table], alias: str = "") -> str:
    """Return the names of all columns of a table, separated by commas, for statements that read every column.

    A prepared statement must not use ``*``: a migration that adds a column changes its result type, and PostgreSQL then
    refuses the prepared statement, which poolers keep for a long time.

    Args:
        alias: the alias of the table in the statement.
    """
    prefix = f"{alias}." if alias else ""
    return ", ".join(f'{prefix}"{column._meta.db_column_name}"' for column in table._meta.columns)
