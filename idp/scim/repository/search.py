"""Pages of users and groups: by index (RFC 7644 section 3.4.2.4) and by cursor (RFC 9865)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from idp.errors import OverloadedError
from idp.infra.db import selective
from idp.infra.db.engine import execute, fetch, fetch_once, fetchrow, transaction
from idp.infra.db.selective import Selective
from idp.scim.attributes import ResourceType
from idp.scim.errors import InvalidCursorError, InvalidValueError, TooManyError
from idp.scim.filters import Both, Filter, Path
from idp.scim.repository.predicates import Column, Columns, Elements, Kind, Predicate, groups_in

#: Above this number, matches are estimated instead of counted.
COUNTED: Final = 10_000
#: Seconds that a filter may take.
MAX_SECONDS: Final = 5
_LIMIT_TIME: Final = f"SET LOCAL statement_timeout = '{MAX_SECONDS}s'"
#: Searches that run at once in a process, so that slow ones leave connections to others.
_searching: Final = asyncio.Semaphore(4)
_ESTIMATE: Final = "SELECT reltuples::bigint AS number FROM pg_class WHERE oid = $1::text::regclass"
_TREES: Final = """
SELECT a.id, ARRAY(SELECT g.id FROM groups AS g WHERE g.path @> ARRAY[a.id]) AS ids FROM unnest($1::uuid[]) AS a (id)
"""
_TYPES: Final = {Kind.ID: "uuid", Kind.TIME: "timestamptz", Kind.BOOLEAN: "boolean"}


class Searched(msgspec.Struct, frozen=True, kw_only=True):
    """A type of resources that can be searched.

    Attributes:
        select: the text after SELECT.
        source: the text after FROM. $1 is the origin of the SCIM client, $2 its organization if it has one.
        id: the expression of the id.
        table: the table, for estimates; empty: there are none.
        shown: the condition of resources that SCIM clients see.
        ordered: the columns with an index in their order.
        extended: see :class:`~idp.scim.repository.predicates.Predicate`.
    """

    resource: ResourceType
    select: str
    source: str
    id: str
    table: str
    columns: Columns
    shown: str = "true"
    ordered: Collection[str] = ()
    extended: Callable[[Path], Elements | None] = lambda _: None


class Order(msgspec.Struct, frozen=True):
    """The order of a list: by an attribute, then by id. By id alone if there is none."""

    column: Column | None = None
    descending: bool = False


class Position(msgspec.Struct, frozen=True, array_like=True):
    """The last resource of a page: the text of what the list is ordered by, and the id."""

    value: str | None
    id: str


class Found(NamedTuple):
    """A page.

    Attributes:
        total: the number of matches, estimated above :data:`COUNTED`; None if a cursor was given.
        next: the position of the next page; None at the end.
    """

    rows: list[asyncpg.Record]
    total: int | None
    next: Position | None


def order_by(searched: Searched, path: Path, *, descending: bool) -> Order:
    """Return the order by an attribute. One with several values is ordered by the only one that is stored.

    Raises:
        InvalidValueError: the list cannot be ordered by it.
    """
    name = str(path).lower()
    found = searched.columns.get(name)
    if found is None and path.sub is not None:
        whole = searched.columns.get(path.attribute.lower())
        found = whole.columns.get(path.sub.lower()) if isinstance(whole, Elements) and whole.single else None
    elif isinstance(found, Elements):
        found = found.columns.get("value") if found.single else None
    if not isinstance(found, Column) or found.constant:
        raise InvalidValueError("The list cannot be sorted by this attribute.")
    return Order(found, descending)


async def search(
    searched: Searched,
    scope: Sequence[object],
    filter: Filter | None,
    order: Order,
    *,
    limit: int,
    offset: int = 0,
    after: Position | None = None,
    counted: bool = True,
    exact: bool = False,
    others: Sequence[ResourceType] = (),
) -> Found:
    """Return a page of resources.

    Args:
        scope: the first parameters: the origin of the SCIM client, and its organization if it has one.
        limit: the number of resources; 0: only count.
        offset: the number of matches before the page.
        after: the position of the page before.
        counted: whether the number of matches is wanted.
        exact: count all matches, however many there are.
        others: further types that the request searches.

    Raises:
        InvalidFilterError: the filter names an unknown attribute, or compares one in a way that it does not support.
        InvalidCursorError: the position is not of this list.
        TooManyError: it would take too long.
        OverloadedError: too many searches take long.
    """
    parameters: list[Any] = [*scope]
    trees = await _trees(filter)
    chosen = by_keys(searched, scope, filter, order, after, limit=limit + 1, offset=offset, others=others, trees=trees)
    where = condition(searched, filter, parameters, others, trees)
    counting = list(parameters)
    text = page_statement(searched, where, order, after, parameters, limit=limit + 1, offset=offset)
    try:
        async with _turn(), transaction():
            await execute(_LIMIT_TIME)
            rows = []
            if limit:
                rows = await (selective.page(*chosen) if chosen is not None else fetch_once(text, *parameters))
            total = None
            if counted:
                more = len(rows) > limit or not limit
                total = offset + len(rows) if (rows or not offset) and not more else None
                if total is None and chosen is not None:
                    total = await selective.count(*chosen, COUNTED)
                if total is None:
                    total = await _count(searched, where, counting, offset, rows[:limit], more=more, exact=exact)
    except asyncpg.QueryCanceledError as error:
        raise TooManyError("The filter takes too long. Make it narrower.") from error
    except asyncpg.DataError as error:
        raise InvalidCursorError("The cursor is not of this list.") from error
    if len(rows) <= limit:
        return Found(rows, total, None)
    end = rows[limit - 1] if limit else None
    return Found(rows[:limit], total, Position(end["_sort"], end["_key"]) if end is not None else None)


@asynccontextmanager
async def _turn() -> AsyncIterator[None]:
    """One of the searches that run at once.

    Raises:
        OverloadedError: the others take too long.
    """
    try:
        async with asyncio.timeout(MAX_SECONDS):
            await _searching.acquire()
    except TimeoutError as error:
        raise OverloadedError from error
    try:
        yield
    finally:
        _searching.release()


async def _trees(filter: Filter | None) -> dict[str, list[UUID]]:
    """Return the ids of the groups that a filter names, and of those below them."""
    named = groups_in(filter) if filter is not None else set()
    rows = await fetch(_TREES, [UUID(each) for each in named]) if named else []
    return {str(row["id"]): row["ids"] for row in rows}


def by_keys(
    searched: Searched,
    scope: Sequence[object],
    filter: Filter | None,
    order: Order,
    after: Position | None = None,
    *,
    limit: int,
    offset: int = 0,
    others: Sequence[ResourceType] = (),
    trees: Mapping[str, Sequence[UUID]] = MappingProxyType({}),
) -> tuple[Selective, list[Any]] | None:
    """Return the page of a filter whose matches an index has, few or many, and its parameters.

    None: of another filter, or of a list in an order of another table.
    """
    parameters: list[Any] = [*scope]
    predicate = _predicate(searched, parameters, others, trees)
    terms = filter.terms if isinstance(filter, Both) else (filter,) if filter is not None else ()
    found = [(term, predicate.keys(term)) for term in terms]
    keys = [each for _term, each in found if each is not None]
    table, _, name, *joined = searched.source.split(" ", 3)
    if not keys or (order.column is not None and not order.column.sql.startswith(f"{name}.")):
        return None
    where = [searched.shown, *(predicate.condition(term) for term, each in found if each is None)]
    page = Selective(
        table=(table, name),
        joined=" ".join(joined),
        columns=_columns(searched, order),
        key=searched.id,
        keys=keys,
        where=" AND ".join(where),
        after=_after(searched, order, after, parameters) if after is not None else "true",
        order=_ordering(searched, order),
        indexed=order.column is None or order.column.sql in searched.ordered,
        alone=len(terms) == 1,
        limit=limit,
        offset=offset,
    )
    return page, parameters


def _predicate(
    searched: Searched, parameters: list[Any], others: Sequence[ResourceType], trees: Mapping[str, Sequence[UUID]]
) -> Predicate:
    return Predicate(
        searched.resource, searched.columns, parameters, others,
        id=searched.id, trees=trees, extended=searched.extended,
    )  # fmt: skip


def condition(
    searched: Searched,
    filter: Filter | None,
    parameters: list[Any],
    others: Sequence[ResourceType] = (),
    trees: Mapping[str, Sequence[UUID]] = MappingProxyType({}),
) -> str:
    """Return the condition of a filter. Its values are appended to the parameters."""
    if filter is None:
        return searched.shown
    return f"{searched.shown} AND {_predicate(searched, parameters, others, trees).condition(filter)}"


def page_statement(
    searched: Searched, where: str, order: Order, after: Position | None, parameters: list[Any], *,
    limit: int, offset: int = 0,
) -> str:  # fmt: skip
    """Return the statement of a page."""
    if after is not None:
        where = f"{where} AND {_after(searched, order, after, parameters)}"
    return (
        f"SELECT {_columns(searched, order)} FROM {searched.source} WHERE {where}"  # noqa: S608
        f" ORDER BY {_ordering(searched, order)} LIMIT {limit} OFFSET {offset}"
    )


def _columns(searched: Searched, order: Order) -> str:
    key = order.column.compared if order.column is not None else searched.id
    return f"{searched.select}, ({key})::text AS _sort, ({searched.id})::text AS _key"


def _by_prefix(column: Column) -> bool:
    """Return whether a column is ordered by bytes, as its index is."""
    return column.kind is Kind.TEXT


def _ordering(searched: Searched, order: Order) -> str:
    direction = "DESC" if order.descending else "ASC"
    if order.column is None:
        return f"{searched.id} {direction}"
    if _by_prefix(order.column):
        return f"{order.column.compared} USING {'~>~' if order.descending else '~<~'}, {searched.id} {direction}"
    return f"{order.column.compared} {direction}, {searched.id} {direction}"


def _after(searched: Searched, order: Order, after: Position, parameters: list[Any]) -> str:
    """Return the condition of what follows a resource. Without a value is last, in the reverse order first."""
    sign = "<" if order.descending else ">"
    parameters.append(after.id)
    last = f"${len(parameters)}::text::uuid"
    column = order.column
    if column is None:
        return f"{searched.id} {sign} {last}"
    key = column.compared
    if after.value is None:
        rest = f"{key} IS NULL AND {searched.id} {sign} {last}"
        return f"({rest} OR {key} IS NOT NULL)" if order.descending else f"({rest})"
    parameters.append(after.value)
    value = f"${len(parameters)}::text::{_TYPES.get(column.kind, 'text')}"
    if not column.nullable and not _by_prefix(column):
        return f"({key}, {searched.id}) {sign} ({value}, {last})"
    beyond = f"~{sign}~" if _by_prefix(column) else sign
    rest = f"{key} {beyond} {value} OR {key} = {value} AND {searched.id} {sign} {last}"
    return f"({rest})" if order.descending or not column.nullable else f"({rest} OR {key} IS NULL)"


async def _count(
    searched: Searched, where: str, parameters: list[Any], offset: int, rows: list[asyncpg.Record], *,
    more: bool, exact: bool,
) -> int:  # fmt: skip
    """Return the number of matches. Above :data:`COUNTED` it is such that a client that reads page after page does not
    stop before the end.
    """
    limit = "" if exact else f"LIMIT {COUNTED + 1}"
    counted = f"SELECT count(*) AS number FROM (SELECT FROM {searched.source} WHERE {where} {limit}) AS found"  # noqa: S608
    (row,) = await fetch_once(counted, *parameters)
    number: int = row["number"]
    if number <= COUNTED or exact:
        return number
    if where == searched.shown and searched.table:
        estimate = await fetchrow(_ESTIMATE, searched.table)
        number = max(number, estimate["number"] if estimate is not None else 0)
    if not rows and offset:
        return min(number, offset)
    return max(number, offset + len(rows) + more)
