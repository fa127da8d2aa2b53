"""Pages of lists whose filter matches a few rows for one value, and most of them for another.

There are two ways to such a page: read the rows that match and sort them, or read the list in its order and keep what
matches. Each takes seconds where the other takes a millisecond. PostgreSQL chooses by estimates, which know neither how
many rows have both of two values nor where in the order they are. So the matches are counted first, up to a bound
(docs/decisions/0074-attributes-of-users.md).
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import asyncpg
import msgspec

from idp.infra.db.engine import fetch_once

#: So many rows are read and sorted in less time than others are met in the order of a list of a million.
FEW: Final = 5000
#: Rows of the list that are looked at for a page. If it is not full then, the matches are somewhere else.
NEAR: Final = 20_000

_PARAMETER: Final = re.compile(r"\$([0-9]+)")


class Selective(msgspec.Struct, frozen=True, kw_only=True):
    """One page of such a list. Parameters have the numbers of one list of values.

    Attributes:
        table: the table, and its name in the expressions.
        joined: what is joined to it, with one row or none for each; or empty.
        columns: the text after SELECT.
        key: the expression of the primary key.
        keys: a subquery for each filter of this kind: the keys ``id`` of the rows that match.
        where: the other conditions.
        after: the condition of what follows the page before.
        order: the text after ORDER BY, of columns of the table.
        indexed: whether an index has this order.
        alone: whether nearly all rows match the other conditions.
    """

    table: tuple[str, str]
    joined: str
    columns: str
    key: str
    keys: Sequence[str]
    where: str
    after: str
    order: str
    indexed: bool = True
    alone: bool = False
    limit: int
    offset: int = 0

    def few(self, known: Sequence[str]) -> str:
        """Return the statement that begins with the rows that match some of the filters, which are few."""
        rows = self._page(f"found {self._each}", self._others(known))
        return f"WITH found AS MATERIALIZED ({self._found(known)}) {rows}"

    def in_order(self) -> str:
        """Return the statement that reads what matches, in the order of the key, which is that of the list."""
        (keys,) = self.keys
        after = self.after.replace(self.key, "k.id")
        found = f"SELECT DISTINCT id FROM ({keys}) AS k WHERE {after} ORDER BY id"  # noqa: S608
        return self._page(f"({found}) AS found {self._each}", self.where, "found.id")

    def near(self) -> str:
        """Return the statement that keeps what matches of the next rows of the list."""
        rows = f"({self._rows} WHERE {self.after} ORDER BY {self.order} LIMIT {NEAR})"
        return self._page(rows, self._all(self.where, *map(self._has, self.keys)))

    def whole(self) -> str:
        """Return the statement that reads all rows that match. It takes the longest, and always finds the page."""
        matching = (f"{self.key} IN (SELECT id FROM ({keys}) AS k)" for keys in self.keys)  # noqa: S608
        return self._page(
            f"({self._rows} {self.joined} WHERE {self._all(self.where, self.after, *matching)} OFFSET 0)", "true"
        )

    def number(self, known: Sequence[str], bound: int) -> str:
        """Return the statement that counts the matches on all pages up to a bound, beginning as :meth:`few`."""
        others = msgspec.structs.replace(self, after="true")._others(known)
        each = f"({self._found(known)}) AS found {self._each} AS {self.table[1]} {self.joined}"
        return f"SELECT count(*) AS number FROM (SELECT FROM {each} WHERE {others} LIMIT {bound}) AS n"  # noqa: S608

    @property
    def _rows(self) -> str:
        # All columns, of which each statement lists those that it returns.
        return f"SELECT {self.table[1]}.* FROM {' AS '.join(self.table)}"  # noqa: S608

    @staticmethod
    def _found(known: Sequence[str]) -> str:
        found = " INTERSECT ".join(f"SELECT id FROM ({keys}) AS k" for keys in known)  # noqa: S608
        # In the order of the index, so that what follows may stop early.
        return f"SELECT DISTINCT id FROM ({found}) AS f ORDER BY id"  # noqa: S608

    @property
    def _each(self) -> str:
        # OFFSET 0 in a subquery: it is run for each row, by the index.
        return f"CROSS JOIN LATERAL ({self._rows} WHERE {self.key} = found.id OFFSET 0)"

    def _others(self, known: Sequence[str]) -> str:
        return self._all(self.where, self.after, *map(self._has, (keys for keys in self.keys if keys not in known)))

    def _has(self, keys: str) -> str:
        return f"EXISTS (SELECT FROM ({keys}) AS k WHERE k.id = {self.key} OFFSET 0)"

    @staticmethod
    def _all(*conditions: str) -> str:
        return " AND ".join(f"({each})" for each in conditions)

    def _page(self, rows: str, where: str, order: str = "") -> str:
        """Return the statement of a page. The columns are computed for its rows only."""
        name = self.table[1]
        return (
            f"SELECT {self.columns} FROM (SELECT {name}.* FROM {rows} AS {name} {self.joined} WHERE {where}"  # noqa: S608
            f" ORDER BY {order or self.order} LIMIT {self.limit} OFFSET {self.offset}) AS {name} {self.joined}"
            f" ORDER BY {self.order}"
        )


async def few_of(keys: Sequence[str], parameters: Sequence[Any], bound: int = FEW) -> list[str]:
    """Return those of the subqueries that have no more rows than the bound."""
    return [
        each
        for each in keys
        if await number(f"SELECT count(*) AS number FROM ({each} LIMIT {bound + 1}) AS k", parameters) <= bound  # noqa: S608
    ]


async def number(statement: str, parameters: Sequence[Any]) -> int:
    """Return the number that a statement counts."""
    (row,) = await _fetch(statement, parameters)
    return int(row["number"])


async def page(selective: Selective, parameters: Sequence[Any]) -> list[asyncpg.Record]:
    """Return the rows of a page, in the caller's transaction."""
    if known := await few_of(selective.keys, parameters):
        return await _fetch(selective.few(known), parameters)
    if selective.alone and selective.order == f"{selective.key} ASC":
        return await _fetch(selective.in_order(), parameters)
    rows = await _fetch(selective.near(), parameters) if selective.indexed else []
    return rows if len(rows) == selective.limit else await _fetch(selective.whole(), parameters)


async def count(selective: Selective, parameters: Sequence[Any], bound: int) -> int | None:
    """Return the number of matches up to one more than a bound. None: most rows match, and few of them may be left."""
    known = await few_of(selective.keys, parameters, bound) or (selective.keys if selective.alone else ())
    return await number(selective.number(known, bound + 1), parameters) if known else None


async def _fetch(statement: str, parameters: Sequence[Any]) -> list[asyncpg.Record]:
    """Run a statement that uses some of the parameters. It is planned for their values."""
    used = sorted({int(number) for number in _PARAMETER.findall(statement)})
    text = _PARAMETER.sub(lambda found: f"${used.index(int(found[1])) + 1}", statement)
    return await fetch_once(text, *(parameters[number - 1] for number in used))
