"""Paginated lists of records, with declared filters and sort orders and a cursor.

A cursor names the last row of a page. So every page costs the same, and rows that are inserted or deleted between two
pages cause no duplicates and no gaps. All SQL is in the declaration, in the repository of the table; only values come
from the request.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from http import HTTPStatus

import asyncpg
import msgspec

from idp.errors import ValidationError
from idp.infra.db import selective
from idp.infra.db.engine import fetch, fetch_once, transaction
from idp.infra.db.selective import Selective

MAX_LIMIT = 200
DEFAULT_LIMIT = 50
#: Maximum length of a text to filter by, in characters. Searching for 60,000 takes a second; nothing stored is as long.
MAX_TEXT = 2048


class InvalidQueryError(ValidationError):
    """The filter, sort order, cursor or limit of a list is invalid.

    Attributes:
        field: the name of the query parameter.
    """

    code = "invalid_query"
    status = HTTPStatus.BAD_REQUEST

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.field = parameter


class Filter(msgspec.Struct, frozen=True):
    """A filter of a list.

    Attributes:
        sql: a predicate with ``{}`` for the value.
        type: the PostgreSQL type of the value.
        help: one line for the API's documentation.
        choices: the allowed values, if there are few.
        prepare: converts the value as entered to the one that is compared.
        keys: instead of the predicate, if one value may match a few rows and another one most of them: a subquery of
            the keys ``id`` of the rows that match (:mod:`idp.infra.db.selective`).
    """

    sql: str = ""
    type: str = "text"
    help: str = ""
    choices: tuple[str, ...] = ()
    prepare: Callable[[str], str] | None = None
    keys: str = ""


def utc(text: str) -> str:
    """Return a date or time as entered, in UTC if it names no time zone."""
    return f"{text}+00" if re.fullmatch(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?)?", text) else text


class Sort(msgspec.Struct, frozen=True):
    """A sort order of a list: an expression that is never NULL, and its PostgreSQL type."""

    sql: str
    type: str = "timestamptz"


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """The declaration of a list.

    Attributes:
        source: the text after FROM. With filters by keys: one table and its name.
        columns: the text after SELECT. No column may contain a secret, because administrators see the rows.
        key: the expression that identifies a row, and its type.
        sorts: the sort orders by name. Each has an index.
        default_sort: the name of a sort order, with ``-`` before it for descending.
        where: a condition that holds for every row of the list.
    """

    source: str
    columns: str
    key: Sort
    sorts: Mapping[str, Sort]
    default_sort: str
    filters: Mapping[str, Filter] = {}
    where: str | None = None


class Page(msgspec.Struct, frozen=True):
    """Rows, and the cursor for the next page; None at the end."""

    rows: list[asyncpg.Record]
    next_cursor: str | None


class _Cursor(msgspec.Struct, frozen=True, array_like=True):
    sort: str
    value: str
    key: str


async def list_page(
    listing: Listing,
    filters: Mapping[str, str] | None = None,
    *,
    sort: str | None = None,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> Page:
    """Return one page of a list.

    Args:
        filters: values by the names of the declared filters. All must match.
        sort: the name of a declared sort order, with ``-`` before it for descending.
        cursor: from the previous page with the same sort order.
        limit: the number of rows, up to :data:`MAX_LIMIT`.

    Raises:
        InvalidQueryError: a name, a value or the cursor is invalid.
    """
    sort = sort or listing.default_sort
    order = listing.sorts.get(sort.removeprefix("-"))
    if order is None:
        raise InvalidQueryError(
            "sort", f"sort must be one of {', '.join(listing.sorts)}, with - before it for the reverse order."
        )
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidQueryError("limit", f"limit must be from 1 to {MAX_LIMIT}.")
    filters = filters or {}
    values = _values(listing, filters)
    if cursor is not None:
        last = _read(cursor, sort)
        values += [last.value, last.key]
    try:
        rows = await _rows(listing, filters, values, sort=sort, after=cursor is not None, limit=limit)
    except asyncpg.DataError as error:
        raise InvalidQueryError("cursor" if cursor else "filter", "A value has the wrong type.") from error
    if len(rows) <= limit:
        return Page(rows, None)
    end = rows[limit - 1]
    return Page(rows[:limit], _write(_Cursor(sort, end["_sort"], end["_key"])))


async def _rows(
    listing: Listing, filters: Collection[str], values: Sequence[str], *, sort: str, after: bool, limit: int
) -> list[asyncpg.Record]:
    """Return the rows of a page.

    With filters it is planned for their values: a plan for any value reads the list in its order, which takes seconds
    for a value that few rows have, and cannot use an index over rare values.
    """
    if not filters:
        return await fetch(statement(listing, sort=sort, after=after, limit=limit), *values)
    if any(listing.filters[name].keys for name in filters):
        async with transaction():
            return await selective.page(selective_page(listing, filters, sort, after=after, limit=limit), values)
    # Not by `transaction`, which checks the authority to change something.
    return await fetch_once(statement(listing, filters, sort=sort, after=after, limit=limit), *values)


async def all_rows(listing: Listing, filters: Mapping[str, str] | None = None) -> list[asyncpg.Record]:
    """Return all rows of a list, page by page. For commands and short lists."""
    page = await list_page(listing, filters, limit=MAX_LIMIT)
    found = list(page.rows)
    while page.next_cursor is not None:
        page = await list_page(listing, filters, cursor=page.next_cursor, limit=MAX_LIMIT)
        found += page.rows
    return found


async def pages(listing: Listing, filters: Mapping[str, str]) -> AsyncIterator[list[asyncpg.Record]]:
    """Yield the pages of a list, for a file that is sent while it is made.

    Each page is read in a transaction, which checks the authority again: the file stops when that ends.
    """
    cursor, more = None, True
    while more:
        async with transaction():
            page = await list_page(listing, filters, cursor=cursor, limit=MAX_LIMIT)
        yield page.rows
        cursor = page.next_cursor
        more = cursor is not None


async def use_rows(
    use: Callable[[str, int], str], listing: Listing, filters: Mapping[str, str], *more: object, limit: int
) -> int:
    """Run a statement on the first rows of a list. Returns the ``number`` that it selects.

    Args:
        use: returns the statement, given that of the rows, and the number of its last parameter.
        more: the parameters after those of the filters.
        limit: the number of rows. One more shows that there are more.

    Raises:
        InvalidQueryError: the name or the value of a filter is invalid.
    """
    values = [*_values(listing, filters), *more]
    try:
        async with transaction():
            (row,) = await fetch_once(use(statement(listing, filters, limit=limit), len(values)), *values)
    except asyncpg.DataError as error:
        raise InvalidQueryError("filter", "A value has the wrong type.") from error
    return int(row["number"])


def _count(rows: str, _: int) -> str:
    return f"SELECT count(*) AS number FROM ({rows}) AS counted"  # noqa: S608


async def count_rows(listing: Listing, filters: Mapping[str, str], *, limit: int) -> int:
    """Return the number of rows of a list, at most one more than ``limit``.

    Raises:
        InvalidQueryError: the name or the value of a filter is invalid.
    """
    return await use_rows(_count, listing, filters, limit=limit)


async def find(listing: Listing, **key: str) -> asyncpg.Record | None:
    """Return the row of a list with this key, or None."""
    try:
        rows = (await list_page(listing, key, limit=1)).rows
    except InvalidQueryError:
        return None
    return rows[0] if rows else None


def statement(
    listing: Listing,
    filters: Collection[str] = (),
    *,
    sort: str | None = None,
    after: bool = False,
    limit: int = DEFAULT_LIMIT,
) -> str:
    """Return the statement of one page. Its parameters are the values of the filters, in this order.

    Args:
        filters: names of declared filters.
        after: whether the page continues another one. The last parameters are then the sort value and the key of the
            last row.
    """
    sort = sort or listing.default_sort
    where = [_predicate(listing, listing.filters[name], number) for number, name in enumerate(filters, 1)]
    if after:
        where.append(_after(listing, sort, len(where) + 1))
    if listing.where is not None:
        where.append(listing.where)
    return (
        f"SELECT {_columns(listing, sort)} FROM {listing.source}"  # noqa: S608
        + (f" WHERE {' AND '.join(where)}" if where else "")
        + f" ORDER BY {_ordering(listing, sort)} LIMIT {limit + 1}"
    )


def selective_page(listing: Listing, filters: Collection[str], sort: str, *, after: bool, limit: int) -> Selective:
    """Return the page of a list, with a filter by keys among others."""
    numbered = [(listing.filters[name], number) for number, name in enumerate(filters, 1)]
    table, _, name = listing.source.partition(" AS ")
    return Selective(
        table=(table, name), joined="", columns=_columns(listing, sort), key=listing.key.sql,
        keys=[_compared(one, number) for one, number in numbered if one.keys],
        where=" AND ".join(["true", *(_compared(one, number) for one, number in numbered if not one.keys)]),
        after=_after(listing, sort, len(numbered) + 1) if after else "true",
        order=_ordering(listing, sort), limit=limit + 1,
    )  # fmt: skip


def _columns(listing: Listing, sort: str) -> str:
    order = listing.sorts[sort.removeprefix("-")]
    return f"{listing.columns}, ({order.sql})::text AS _sort, ({listing.key.sql})::text AS _key"


def _ordering(listing: Listing, sort: str) -> str:
    direction = "DESC" if sort.startswith("-") else "ASC"
    return f"{listing.sorts[sort.removeprefix('-')].sql} {direction}, {listing.key.sql} {direction}"


def _after(listing: Listing, sort: str, number: int) -> str:
    """Return the condition of what follows a row, whose sort value and key are two parameters from a number on."""
    order, key = listing.sorts[sort.removeprefix("-")], listing.key
    sign = "<" if sort.startswith("-") else ">"
    return f"({order.sql}, {key.sql}) {sign} (${number}::text::{order.type}, ${number + 1}::text::{key.type})"


def _predicate(listing: Listing, known: Filter, number: int) -> str:
    compared = _compared(known, number)
    return f"{listing.key.sql} IN (SELECT id FROM ({compared}) AS k)" if known.keys else compared  # noqa: S608


def _compared(known: Filter, number: int) -> str:
    """Return the predicate of a filter, or its keys."""
    value = f"${number}::text::{known.type}"
    return known.keys.replace("{}", value) if known.keys else f"({known.sql.replace('{}', value)})"


def _values(listing: Listing, filters: Mapping[str, str]) -> list[str]:
    """Return the values of filters as they are compared."""
    found = []
    for name, value in filters.items():
        known = listing.filters.get(name)
        if known is None:
            raise InvalidQueryError(name, f"There is no filter {name!r}. There are: {', '.join(listing.filters)}.")
        if (known.choices and value not in known.choices) or "\0" in value:
            raise InvalidQueryError(name, f"{name} must be one of {', '.join(known.choices) or 'what can be kept'}.")
        if known.type == "text" and len(value) > MAX_TEXT:
            raise InvalidQueryError(name, f"{name} must not be longer than {MAX_TEXT} characters.")
        found.append(known.prepare(value) if known.prepare is not None else value)
    return found


def _write(cursor: _Cursor) -> str:
    return urlsafe_b64encode(msgspec.json.encode(cursor)).rstrip(b"=").decode()


def _read(text: str, sort: str) -> _Cursor:
    try:
        cursor = msgspec.json.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=_Cursor)
    except (ValueError, msgspec.DecodeError) as error:
        raise InvalidQueryError("cursor", "The cursor is not of this list.") from error
    if cursor.sort != sort or "\0" in cursor.value + cursor.key:
        raise InvalidQueryError("cursor", "The cursor is not of this list and sort order.")
    return cursor
