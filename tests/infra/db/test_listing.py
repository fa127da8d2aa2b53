"""Lists by cursor: no duplicates, no gaps, and no input in the SQL."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idp.errors import PermissionDeniedError
from idp.infra.db import listing
from idp.infra.db.engine import authority, execute
from idp.infra.db.listing import MAX_TEXT, Filter, InvalidQueryError, Listing, Sort, find, list_page, pages

pytestmark = pytest.mark.usefixtures("own_database")

NUMBERS = Listing(
    source="number AS n",
    columns="n.id, n.value",
    key=Sort("n.id", "int"),
    sorts={"value": Sort("n.value", "int"), "id": Sort("n.id", "int")},
    default_sort="id",
    filters={"value": Filter("n.value = {}", "int"), "parity": Filter("n.value % 2 = {}::int", choices=("0", "1"))},
)


@pytest.fixture(autouse=True)
async def numbers(own_database: str) -> None:
    """Insert five rows of each value, so that the order needs the key as well."""
    await execute("CREATE TABLE number (id int PRIMARY KEY, value int NOT NULL)")
    await execute("INSERT INTO number SELECT n, n % 10 FROM generate_series(1, 50) AS n")


async def walk(sort: str, limit: int, **filters: str) -> list[tuple[int, int]]:
    found, cursor = list[tuple[int, int]](), None
    for _ in range(60):
        page = await list_page(NUMBERS, filters, sort=sort, cursor=cursor, limit=limit)
        found += [(row["value"], row["id"]) for row in page.rows]
        cursor = page.next_cursor
        if cursor is None:
            return found
    raise AssertionError("It does not end.")


@pytest.mark.parametrize("sort", ["value", "-value", "id", "-id"])
@pytest.mark.parametrize("limit", [1, 7, 50, 200])
async def test_every_row_once_in_order(sort: str, limit: int) -> None:
    found = await walk(sort, limit)
    key = (lambda row: row) if "value" in sort else (lambda row: row[1:])
    assert found == sorted(found, key=key, reverse=sort.startswith("-"))
    assert len(set(found)) == len(found) == 50


async def test_filters_hold_together() -> None:
    assert {value for value, _ in await walk("id", 3, parity="1")} == {1, 3, 5, 7, 9}
    assert await walk("id", 3, parity="1", value="2") == []
    row = await find(NUMBERS, value="3")
    assert row is not None
    assert row["id"] == 3
    assert await find(NUMBERS, value="many") is None


async def test_a_file_has_every_page_and_ends_with_its_authority(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MAX_LIMIT", 20)
    checked = [len(rows) async for rows in pages(NUMBERS, {})]
    assert checked == [20, 20, 10]

    async def hold() -> None:
        checked.append(0)
        if checked[-2:] == [0, 0]:
            raise PermissionDeniedError("Your role has been revoked.")

    token = authority.set(hold)
    try:
        found = pages(NUMBERS, {"parity": "1"})
        assert [row["id"] for row in await anext(found)] == list(range(1, 41, 2))
        with pytest.raises(PermissionDeniedError):
            await anext(found)
    finally:
        authority.reset(token)


async def test_a_long_text_is_not_searched_for() -> None:
    named = msgspec.structs.replace(NUMBERS, filters={"name": Filter("n.value::text = {}")})
    assert (await list_page(named, {"name": "7" * MAX_TEXT})).rows == []
    with pytest.raises(InvalidQueryError, match="2048 characters") as refused:
        await list_page(named, {"name": "7" * (MAX_TEXT + 1)})
    assert refused.value.field == "name"


async def test_a_cursor_is_of_its_order() -> None:
    page = await list_page(NUMBERS, sort="value", limit=1)
    with pytest.raises(InvalidQueryError, match="cursor"):
        await list_page(NUMBERS, sort="-value", cursor=page.next_cursor)


@pytest.mark.parametrize(("limit", "sort"), [(0, "id"), (201, "id"), (-1, "id"), (1, "other"), (1, "id; DROP")])
async def test_undeclared_sorts_and_limits_are_refused(limit: int, sort: str) -> None:
    with pytest.raises(InvalidQueryError):
        await list_page(NUMBERS, sort=sort, limit=limit)


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(["value", "parity", "other"]), st.text(max_size=20)), st.none() | st.text())
async def test_every_query_is_answered_or_refused(filters: dict[str, str], cursor: str | None) -> None:
    refusal: InvalidQueryError | None = None
    rows = []
    try:
        rows = (await list_page(NUMBERS, filters, cursor=cursor)).rows
    except InvalidQueryError as error:
        refusal = error
    assert refusal is None or (str(refusal) and refusal.field)
    assert all(set(dict(row)) >= {"id", "value"} for row in rows)
