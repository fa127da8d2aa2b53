"""Pages of lists whose filter matches few rows or most of them: every way to a page finds the same rows."""

import itertools
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from idp import ids
from idp.accounts.attributes import declaration, repository, search
from idp.accounts.attributes.models import Audience
from idp.accounts.attributes.registry import attributes
from idp.accounts.repository.users import EVERY_USER, USERS
from idp.infra.db import selective
from idp.infra.db.engine import execute, fetch, transaction
from idp.infra.db.listing import Listing, count_rows, list_page
from idp.scim.filters import parse_filter, parse_path
from idp.scim.repository import search as scim
from idp.scim.repository import users as scim_users

pytestmark = pytest.mark.usefixtures("own_database")

PEOPLE = 40
#: The values of a user by number: one has the first, two others have a quarter and most, one is of the oldest only.
VALUES: dict[str, Callable[[int], bool]] = {
    "rare": lambda n: n == 7,
    "some": lambda n: n % 4 == 0,
    "most": lambda n: n % 10 != 3,
    "oldest": lambda n: n < 6,
    "absent": lambda _n: False,
}
_PEOPLE = """
WITH n AS (SELECT * FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS n (id, email, number)),
u AS (INSERT INTO users (id, email, name, origin, created_at, disabled_at)
      SELECT id, email, 'Person ' || number, 'import', now() + number * interval '1 second',
             CASE WHEN number % 3 = 0 THEN now() END FROM n)
INSERT INTO user_email (email, user_id) SELECT email, id FROM n
"""


@pytest.fixture
async def people() -> Listing:
    """The list of users, who are in another order by address. Values repeat in other letters."""
    users = [ids.uuid7() for _ in range(PEOPLE)]
    await execute(_PEOPLE, users, [f"{n * 17 % PEOPLE:02}@example.com" for n in range(PEOPLE)])
    await declaration.declare(name="tag", type="string", label={"default": "Tag"}, multivalued=True, searchable=True)
    async with transaction():
        declared = (await repository.hold_attributes(["tag"]))["tag"]
        await repository.insert_values(
            (user, declared, found)
            for n, user in enumerate(users)
            if (found := [each for value, has in VALUES.items() if has(n) for each in (value, value.upper())])
        )
    return msgspec.structs.replace(USERS, filters={**USERS.filters, **await search.filters(Audience.OWNER)})


async def _all(listing: Listing, filters: dict[str, str], sort: str) -> list[str]:
    """Return the addresses of all users of a list, page by page."""
    found, cursor = list[str](), None
    while True:
        page = await list_page(listing, filters, sort=sort, cursor=cursor, limit=9)
        found += [row["email"] for row in page.rows]
        cursor = page.next_cursor
        if cursor is None:
            return found


async def _expected(value: str, sort: str, condition: str = "true") -> list[str]:
    direction = "DESC" if sort.startswith("-") else "ASC"
    rows = await fetch(
        f"SELECT email FROM users AS u WHERE {condition} AND id IN (SELECT user_id FROM user_attribute"
        f" WHERE search_key = $1) ORDER BY {sort.removeprefix('-')} {direction}, id {direction}",
        value,
    )
    return [row["email"] for row in rows]


#: By which bounds each way is taken.
WAYS = {"few": (1000, 1000), "near": (-1, 1000), "near or whole": (-1, 5), "whole": (-1, 0)}


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_finds_the_same(people: Listing, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    few, near = WAYS[way]
    monkeypatch.setattr(selective, "NEAR", near)
    monkeypatch.setattr(selective.few_of, "__defaults__", (few,))
    for value, sort in itertools.product(VALUES, ("-created_at", "email")):
        wanted = {"attributes.tag": value.title()}
        assert await _all(people, wanted, sort) == await _expected(value, sort), (value, sort)
        disabled = await _all(people, wanted | {"disabled": "true"}, sort)
        assert disabled == await _expected(value, sort, "disabled_at IS NOT NULL"), (value, sort)
        named = await _all(people, wanted | {"q": "person 1"}, sort)
        assert named == await _expected(value, sort, "starts_with(name, 'Person 1')"), (value, sort)


async def test_rows_are_counted_and_used(people: Listing) -> None:
    """Work on all users of a list has one statement, in which the filter is a condition."""
    listing = msgspec.structs.replace(EVERY_USER, filters={**people.filters, **EVERY_USER.filters})
    for value in VALUES:
        expected = await _expected(value, "email", "starts_with(name, 'Person 1')")
        assert await count_rows(listing, {"attributes.tag": value, "q": "person 1"}, limit=100) == len(expected)
        assert await count_rows(listing, {"attributes.tag": value}, limit=100) == len(await _expected(value, "email"))


async def test_two_values(people: Listing) -> None:
    await execute("UPDATE user_attribute SET search_key = 'rest' WHERE position % 2 = 1 AND search_key = 'some'")
    await declaration.declare(name="level", type="integer", label={"default": "Level"}, searchable=True)
    async with transaction():
        declared = (await repository.hold_attributes(["level"]))["level"]
        users = [row["id"] for row in await fetch("SELECT id FROM users ORDER BY id")]
        await repository.insert_values((user, declared, [n % 2]) for n, user in enumerate(users))
    listing = msgspec.structs.replace(people, filters=await search.filters(Audience.OWNER))
    both = {"attributes.tag": "most", "attributes.level": "1"}
    expected = [
        email
        for email in await _expected("most", "email")
        if await fetch(
            "SELECT FROM users AS u JOIN user_attribute AS v ON v.user_id = u.id"
            " WHERE email = $1 AND attribute = 'level' AND number_value = 1",
            email,
        )
    ]
    for few in (1000, 25, -1):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(selective.few_of, "__defaults__", (few,))
            assert await _all(listing, both, "email") == expected, few


async def _scim(text: str, sort: str | None, **asked: Any) -> scim.Found:
    order = scim.Order() if sort is None else scim.order_by(scim_users.USERS, parse_path(sort), descending=False)
    return await scim.search(scim_users.USERS, ["scim:x"], parse_filter(text), order, limit=9, **asked)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sort", [None, "userName", "meta.created", "nickName"])
async def test_searches_of_scim(people: Listing, monkeypatch: pytest.MonkeyPatch, way: str, sort: str | None) -> None:
    few, near = WAYS[way]
    monkeypatch.setattr(selective, "NEAR", near)
    monkeypatch.setattr(selective.few_of, "__defaults__", (few,))
    monkeypatch.setattr(scim, "COUNTED", 12)
    await attributes.load()
    orders = {None: "id", "userName": "email", "meta.created": "created_at", "nickName": "id"}
    urn = "urn:ietf:params:scim:schemas:extension:idp:2.0:User"
    for value, (more, condition) in itertools.product(
        VALUES, (("", "true"), (" and active eq false", "disabled_at IS NOT NULL"))
    ):
        text = f'{urn}:tag eq "{value.upper()}"{more}'
        expected = await _expected(value, orders[sort], condition)
        by_cursor, by_index, after = list[str](), list[str](), None
        while True:
            page = await _scim(text, sort, after=after, counted=False)
            by_cursor += [row["email"] for row in page.rows]
            after = page.next
            if after is None:
                break
        while True:
            page = await _scim(text, sort, offset=len(by_index))
            by_index += [row["email"] for row in page.rows]
            if not page.rows:
                break
            assert page.total is not None
            assert page.total == len(expected) or min(page.total, len(expected)) > 12
        assert (by_cursor, by_index) == (expected, expected), text
