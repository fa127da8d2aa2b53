"""The columns of our tables: Piccolo's columns without its defaults, and the column names for SQL.

Piccolo fills a missing column with ``''``, ``b''``, ``0`` or the time. These columns have no default unless one is
given, so creating a row without a value for a non-null column raises ``ValueError``.
"""

from collections.abc import Sequence
from typing import Any

from piccolo import columns
from piccolo.columns.base import OnDelete, OnUpdate
from piccolo.columns.defaults.timestamptz import TimestamptzNow
from piccolo.columns.reference import LazyTableReference
from piccolo.constraints import Constraint
from piccolo.table import Table

__all__ = [
    "JSONB", "UUID", "Array", "BigInt", "Boolean", "Bytea", "CompositeForeignKey", "Date", "DoublePrecision",
    "ForeignKey", "Integer", "OnDelete", "OnUpdate", "PrimaryKey", "SmallInt", "Text", "Timestamptz", "TimestamptzNow",
    "all_columns",
]  # fmt: skip


class _Column(columns.Column):
    """A column that can be the last one of a :class:`PrimaryKey`."""

    in_composite_key = False

    @property
    def ddl(self) -> str:
        ddl: str = super().ddl
        return ddl.replace(" PRIMARY KEY", "", 1) if self.in_composite_key else ddl


class PrimaryKey(Constraint):
    """A primary key of several columns, as an attribute with the name ``<table>_pkey`` that PostgreSQL gives it.

    Piccolo supports keys of one column only, for which the last column is used.
    """

    def __init__(self, columns: Sequence[columns.Column]) -> None:
        super().__init__(columns=columns)
        *_, last = self.columns = columns
        assert isinstance(last, _Column)  # noqa: S101
        last._meta.primary_key = last.in_composite_key = True

    def _names(self) -> list[str]:
        return [column._meta.db_column_name for column in self.columns]

    def serialise_self(self) -> None:
        self._meta.params["columns"] = self._names()

    @property
    def ddl(self) -> str:
        return f"PRIMARY KEY ({', '.join(self._names())})"

    def _table_str(self) -> str:
        return f"{self._meta.name} = PrimaryKey({self._names()})"


class CompositeForeignKey(Constraint):
    """A foreign key of several columns, as an attribute with the name that PostgreSQL gives it.

    Piccolo supports foreign keys of one column only, for which the last one, a :class:`ForeignKey`, is used. The
    columns before it have the same names in both tables, and keep their values when the referenced row is deleted.
    """

    def __init__(self, columns: Sequence[columns.Column]) -> None:
        super().__init__(columns=columns)
        *self.common, last = columns
        assert isinstance(last, ForeignKey)  # noqa: S101
        self.last = last
        last.in_composite_reference = True

    def _common(self) -> list[str]:
        return [column._meta.db_column_name for column in self.common]

    def serialise_self(self) -> None:
        self._meta.params["columns"] = [*self._common(), self.last._meta.db_column_name]

    @property
    def ddl(self) -> str:
        name, reference = self.last._meta.db_column_name, self.last._foreign_key_meta
        target = reference.resolved_target_column._meta.db_column_name
        on_delete = reference.on_delete.value + (f" ({name})" if reference.on_delete is OnDelete.set_null else "")
        return (
            f"FOREIGN KEY ({', '.join([*self._common(), name])})"
            f" REFERENCES {reference.resolved_references._meta.get_formatted_tablename()}"
            f" ({', '.join([*self._common(), target])})"
            f" ON UPDATE {reference.on_update.value} ON DELETE {on_delete}"
        )

    def _table_str(self) -> str:
        return f"{self._meta.name} = CompositeForeignKey({self._meta.params['columns']})"


class Array(columns.Array):
    def __init__(self, base_column: columns.Column, default: Any = None, **options: Any) -> None:
        super().__init__(base_column, default=default, **options)


class BigInt(_Column, columns.BigInt):
    def __init__(self, default: Any = None, **options: Any) -> None:
        super().__init__(default=default, **options)


class Boolean(columns.Boolean):
    def __init__(self, default: Any = None, **options: Any) -> None:
        super().__init__(default=default, **options)


class Bytea(_Column, columns.Bytea):
    def __init__(self, default: Any = None, **options: Any) -> None:
        super().__init__(default=default, **options)


class Date(columns.Date):
    def __init__(self, default: Any = None, **options: Any) -> None:
        super().__init__(default=default, **options)


class DoublePrecision(columns.DoublePrecision):
    def __init__(self, default: Any = None, **options: Any) -> None:
        super().__init__(default=default, **options)


class ForeignKey(_Column, columns.ForeignKey[Any]):
    """Not null by default. Keys never change, so there is no ON UPDATE action."""

    in_composite_reference = False

    @property
    def ddl(self) -> str:
        ddl = super().ddl
        return ddl.partition(" REFERENCES ")[0] if self.in_composite_reference else ddl

    def __init__(
        self,
        references: type[Table] | LazyTableReference | str,
        on_delete: OnDelete = OnDelete.cascade,
        null: bool = False,
        **options: Any,
    ) -> None:
        options = {"on_update": OnUpdate.no_action} | options
        super().__init__(references, on_delete=on_delete, null=null, **options)


class Integer(_Column, columns.Integer):
    def __init__(self, default: Any = None, **options: Any) -> None:
        super().__init__(default=default, **options)


class JSONB(columns.JSONB):
    def __init__(self, default: Any = None, **options: Any) -> None:
        super().__init__(default=default, **options)


class SmallInt(_Column, columns.SmallInt):
    def __init__(self, default: Any = None, **options: Any) -> None:
        super().__init__(default=default, **options)


class Text(_Column, columns.Text):
    def __init__(self, default: Any = None, **options: Any) -> None:
        super().__init__(default=default, **options)


class Timestamptz(columns.Timestamptz):
    def __init__(self, default: Any = None, **options: Any) -> None:
        super().__init__(default=default, **options)


class UUID(_Column, columns.UUID):
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
