"""Lists over SCIM: pages by index and by cursor, order, searches by a message, and what they refuse."""

from typing import Any
from uuid import uuid4

import pytest

from idp.infra.db.engine import execute
from idp.scim.repository import search
from tests.scim.conftest import ScimClient

pytestmark = pytest.mark.usefixtures("empty")


async def _people(scim: ScimClient, *names: str | None) -> list[str]:
    found = []
    for number, name in enumerate(names):
        values = {} if name is None else {"name": {"familyName": name}}
        found.append((await scim.user(userName=f"p{number}-{uuid4()}@example.com", **values))["id"])
    return found


async def _pages(scim: ScimClient, query: str, count: int) -> list[str]:
    """Return the ids of all pages by cursor."""
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await scim.ok("GET", f"{query}&count={count}&cursor={cursor}")
        assert page["itemsPerPage"] == len(page["Resources"]) <= count
        assert "totalResults" not in page
        found += [resource["id"] for resource in page["Resources"]]
        cursor = page.get("nextCursor")
    return found


async def test_pages_by_index(scim: ScimClient) -> None:
    people = await _people(scim, *"abcde")

    async def page(query: str) -> tuple[int, int, list[str]]:
        found = await scim.ok("GET", f"/Users?{query}")
        assert found["itemsPerPage"] == len(found["Resources"])
        return found["totalResults"], found["startIndex"], [each["id"] for each in found["Resources"]]

    assert await page("") == (5, 1, people)
    assert await page("startIndex=1&count=2") == (5, 1, people[:2])
    assert await page("startIndex=3&count=2") == (5, 3, people[2:4])
    assert await page("startIndex=5&count=2") == (5, 5, people[4:])
    assert await page("startIndex=6&count=2") == (5, 6, [])
    assert await page("startIndex=-7&count=1000") == (5, 1, people)
    assert await page("count=0") == (5, 1, [])
    assert await page("count=-1") == (5, 1, [])
    assert await page("sortOrder=descending") == (5, 1, people[::-1])


async def test_pages_by_cursor(scim: ScimClient) -> None:
    people = await _people(scim, "Lee", None, "adams", "Zed", "lee", None, "Young")
    assert await _pages(scim, "/Users?attributes=id", 3) == people
    ordered = [people[n] for n in (2, 0, 4, 6, 3, 1, 5)]
    for count in (1, 2, 3, 7, 50):
        assert await _pages(scim, "/Users?sortBy=name.familyName", count) == ordered
    assert await _pages(scim, "/Users?sortBy=name.familyName&sortOrder=descending", 2) == ordered[::-1]
    for attribute in ("userName", "emails.value", "emails", "meta.created", "meta.lastModified", "id", "active"):
        assert await _pages(scim, f"/Users?sortBy={attribute}", 2) == people
        assert await _pages(scim, f"/Users?sortBy={attribute}&sortOrder=descending", 3) == people[::-1]
    assert await _pages(scim, '/Users?filter=name.familyName eq "lee"', 1) == [people[0], people[4]]


async def test_a_user_who_comes_or_goes_moves_no_page(scim: ScimClient) -> None:
    people = await _people(scim, *"abcd")
    first = await scim.ok("GET", "/Users?cursor=&count=2")
    await scim("DELETE", f"/Users/{people[0]}")
    rest = await scim.ok("GET", f"/Users?count=5&cursor={first['nextCursor']}")
    assert [each["id"] for each in rest["Resources"]] == people[2:]


async def test_a_cursor_is_of_one_list(scim: ScimClient) -> None:
    await _people(scim, *"abc")
    cursor = (await scim.ok("GET", "/Users?cursor=&count=1"))["nextCursor"]
    for query in (
        f"/Users?cursor={cursor}&sortBy=userName",
        f"/Users?cursor={cursor}&filter=displayName pr",
        f"/Groups?cursor={cursor}",
        f"/Users?cursor={cursor}x!",
        f"/Users?cursor={cursor}&startIndex=1",
        "/Users?cursor=W10",
        "/Users?cursor=%00",
    ):
        status, scim_type = await scim.refused("GET", query)
        assert (status, scim_type) in ((400, "invalidCursor"), (400, "invalidValue")), query


async def test_searches_by_a_message(scim: ScimClient) -> None:
    people = await _people(scim, "Lee", "Adams")
    group = await scim.group(people[0], displayName="Lee")
    message = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"]}
    found = await scim.ok(
        "POST",
        "/Users/.search",
        message | {"filter": 'name.familyName eq "lee"', "attributes": ["userName"], "count": 5},
    )
    assert [each.keys() for each in found["Resources"]] == [{"schemas", "id", "userName"}]
    assert (await scim.ok("POST", "/Groups/.search", message))["Resources"][0]["id"] == group["id"]
    both = await scim.ok("POST", "/.search", message | {"filter": 'name.familyName pr or displayName eq "lee"'})
    assert [each["id"] for each in both["Resources"]] == [*people, group["id"]]
    assert both["totalResults"] == 3
    assert [each["meta"]["resourceType"] for each in both["Resources"]] == ["User", "User", "Group"]
    second = await scim.ok("POST", "/.search", message | {"startIndex": 2, "count": 2})
    assert [each["id"] for each in second["Resources"]] == [people[1], group["id"]]
    found_ids: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await scim.ok("POST", "/.search", message | {"count": 1, "cursor": cursor, "sortBy": "displayName"})
        found_ids += [each["id"] for each in page["Resources"]]
        cursor = page.get("nextCursor")
    assert found_ids == [*people, group["id"]]
    assert await scim.refused("POST", "/.search", message | {"filter": "nothing pr"}) == (400, "invalidFilter")


@pytest.mark.parametrize(
    ("query", "scim_type"),
    [
        ("count=x", "invalidValue"),
        ("count=99999999999", "invalidValue"),
        ("startIndex=1.5", "invalidValue"),
        ("startIndex=100000000", "invalidValue"),
        ("sortBy=nothing", "invalidValue"),
        ("sortBy=groups", "invalidValue"),
        ("sortBy=name", "invalidValue"),
        ('sortBy=emails[type eq "work"]', "invalidValue"),
        ("sortBy=.", "invalidPath"),
        ("sortOrder=up", "invalidValue"),
        ("filter=", None),
        ("filter=x", "invalidFilter"),
        ("filter=userName eq", "invalidFilter"),
        ("filter=a eq 1&filter=b eq 2", "invalidValue"),
        ("attributes=%00", "invalidValue"),
    ],
)
async def test_refused_queries(scim: ScimClient, query: str, scim_type: str | None) -> None:
    response = await scim("GET", f"/Users?{query}")
    if scim_type is None:
        assert response.status_code == 200
    else:
        assert (response.status_code, response.json()["scimType"]) == (400, scim_type)


async def test_many_are_estimated(scim: ScimClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads page after page gets all, and ends."""
    from idp.scim.repository.users import USERS

    people = await _people(scim, *"abcdefg")
    await execute("ANALYZE users")
    monkeypatch.setattr(search, "COUNTED", 2)
    for filter_ in (None, search_filter()):
        seen: list[str] = []
        total = 1
        while len(seen) < total:
            found = await search.search(USERS, [""], filter_, search.Order(), limit=2, offset=len(seen))
            assert found.total is not None
            seen, total = [*seen, *(str(row["id"]) for row in found.rows)], found.total
            assert total >= len(seen)
        assert seen == people
    beyond = await search.search(USERS, [""], None, search.Order(), limit=2, offset=100)
    assert beyond.total is not None
    assert beyond.total <= 100


def search_filter() -> Any:
    from idp.scim.filters import parse_filter

    return parse_filter('userName ew "@example.com"')


async def test_a_slow_filter_is_refused(scim: ScimClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from idp.scim.errors import TooManyError
    from idp.scim.repository.users import USERS

    monkeypatch.setattr(search, "_LIMIT_TIME", "SET LOCAL statement_timeout = '1ms'")
    monkeypatch.setattr(search, "page_statement", lambda *_, **__: "SELECT pg_sleep(5), $1::text")
    with pytest.raises(TooManyError):
        await search.search(USERS, [""], None, search.Order(), limit=2)
