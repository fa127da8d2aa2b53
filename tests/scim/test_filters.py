"""Filters: their grammar, and that SQL answers as an evaluation in memory does."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from idp.infra.db.engine import execute
from idp.scim import filters
from idp.scim.errors import InvalidFilterError, InvalidPathError
from idp.scim.filters import Both, Comparison, Either, Not, Path, Present, Selection, parse_filter, parse_path
from idp.scim.repository.groups import GROUPS
from idp.scim.repository.search import Order, Searched, search
from idp.scim.repository.users import USERS
from tests.scim.conftest import ScimClient, client
from tests.support.scim2 import models
from tests.support.server import TLS, Server

WORK = Comparison(Path("type"), "eq", "work")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ('userName eq "a"', Comparison(Path("userName"), "eq", "a")),
        ('userName Eq "a\\"\\u00e9"', Comparison(Path("userName"), "eq", 'a"é')),
        ("active eq TRUE", Comparison(Path("active"), "eq", True)),
        ("n eq -1.5e2", Comparison(Path("n"), "eq", -150.0)),
        ("title eq null", Comparison(Path("title"), "eq", None)),
        ("name.familyName pr", Present(Path("name", "familyName"))),
        ("urn:a:b:2.0:User:name.x pr", Present(Path("name", "x", "urn:a:b:2.0:User"))),
        ("a pr or b pr and c pr", Either((Present(Path("a")), Both((Present(Path("b")), Present(Path("c"))))))),
        ("(a pr or b pr) and c pr", Both((Either((Present(Path("a")), Present(Path("b")))), Present(Path("c"))))),
        ("not (a pr) and not(b pr)", Both((Not(Present(Path("a"))), Not(Present(Path("b")))))),
        ('emails[type eq "work"]', Selection(Path("emails"), WORK)),
        (
            'emails[type eq "work"].value sw "x"',
            Selection(Path("emails"), Both((WORK, Comparison(Path("value"), "sw", "x")))),
        ),
        ("notes pr", Present(Path("notes"))),
        ("$ref pr", Present(Path("$ref"))),
    ],
)
def test_the_grammar(text: str, tree: filters.Filter) -> None:
    assert parse_filter(text) == tree


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("members", Path("members")),
        ("name.givenName", Path("name", "givenName")),
        ("urn:x:2.0:User:department", Path("department", None, "urn:x:2.0:User")),
        ('emails[type eq "work"]', Selection(Path("emails"), WORK)),
        ('emails[type eq "work"].value', Selection(Path("emails"), WORK, "value")),
    ],
)
def test_paths(text: str, tree: Path | Selection) -> None:
    assert parse_path(text) == tree


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "a", "a eq", "a eq b", 'a xx "b"', "(a pr", "a pr)", "a[b[c pr]]", "not a pr", 'a eq "x', "a eq 01",
        "a.b.c pr", "a pr and", "and a pr", "a pr b pr", "é pr", 'a eq "\\x"', 'a eq "\t"', 'a eq "\\u0000"',
        'a eq "\\ud800"', "a eq 1e999", "a[b pr].c.d pr", "a[b pr].c", "a.b[c pr]", "a[]", "()", "a eq 'b'", "a eq {}",
        "a eq -", "-a pr", "1 pr", "a; drop table users", "(" * 17 + "a pr" + ")" * 17,
        " or ".join(["a pr"] * 61), 'a eq "' + "x" * 4000 + '"', "not(" * 500 + "a pr" + ")" * 500, "urn: pr", "a\0 pr",
    ],
    ids=lambda text: repr(text[:30]),
)  # fmt: skip
def test_what_is_not_a_filter(text: str) -> None:
    with pytest.raises(InvalidFilterError):
        parse_filter(text)


@pytest.mark.parametrize(
    "text", ["", "a b", "a[", "a[b pr", "a[b pr].", "a[b pr].c.d", "a[b pr].c[d pr]", "a.b.c", "a pr", ".a", "a..b"]
)
def test_what_is_not_a_path(text: str) -> None:
    with pytest.raises(InvalidPathError):
        parse_path(text)


# The evaluation in memory: the models and filters of scim2-models, on what the server shows of each resource.

NAMES = ("Ann", "ann", "Bob Lee", "bo", "Zoë", "", "100%", "a_b", "x\\y")
VALUES = st.one_of(
    st.sampled_from(
        [*NAMES, "lee", "work", "WORK", "other", "direct", "indirect", "User", "e1", "E1", "London", "+4912345670"]
    ),
    st.text("abeolEz@.0-", max_size=3),
)
TIMES = st.sampled_from(["2020-01-01T00:00:00Z", "2021-06-01T12:00:00+02:00", "2030-01-01T00:00:00.5Z"])
TEXTS = (
    "userName", "displayName", "name.givenName", "name.familyName", "name.formatted", "nickName", "externalId",
    "emails.value", "emails.type", "emails", "phoneNumbers.value", "phoneNumbers", "phoneNumbers.type", "locale",
    "timezone",
    "addresses.locality", "addresses.type", "groups.display", "groups.type", "groups.value", "id",
    "title", "name.honorificPrefix", "meta.resourceType", "profileUrl",
    "urn:ietf:params:scim:schemas:core:2.0:User:displayName",
)  # fmt: skip
SELECTED = {
    "emails": ("value", "type"),
    "phoneNumbers": ("value", "type"),
    "addresses": ("locality", "country", "type"),
    "groups": ("display", "type", "value"),
}


def _cased(text: str) -> st.SearchStrategy[str]:
    return st.sampled_from([text, text, text.upper(), text.lower()])


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _comparisons(names: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(["eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"]).flatmap(_cased)
    compared = st.builds(lambda name, op, value: f"{name} {op} {_quoted(value)}", names, operators, VALUES)
    return st.one_of(compared, names.map(lambda name: f"{name} pr"), names.map(lambda name: f"{name} eq null"))


def _combined(leaves: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds(lambda a, word, b: f"({a}) {word} ({b})", inner, st.sampled_from(["and", "or"]), inner),
            inner.map(lambda text: f"not ({text})"),
        ),
        max_leaves=4,
    )


def _filters(people: list[str], groups: list[str]) -> st.SearchStrategy[str]:
    selections = st.sampled_from(list(SELECTED)).flatmap(
        lambda name: _combined(_comparisons(st.sampled_from(SELECTED[name]))).map(lambda inner: f"{name}[{inner}]")
    )
    return _combined(
        st.one_of(
            _comparisons(st.sampled_from(TEXTS)),
            selections,
            st.builds(
                lambda value, op: f"active {op} {value}",
                st.sampled_from(["true", "false"]),
                st.sampled_from(["eq", "ne"]),
            ),
            st.builds(
                lambda name, op, at: f'{name} {op} "{at}"',
                st.sampled_from(["meta.created", "meta.lastModified"]),
                st.sampled_from(["eq", "ne", "gt", "ge", "lt", "le"]),
                TIMES,
            ),
            st.sampled_from(people).map(lambda one: f'id eq "{one}"'),
            st.sampled_from(groups).map(lambda one: f'groups.value eq "{one}"'),
            st.sampled_from(groups).map(lambda one: f'groups[value eq "{one}" and type eq "direct"]'),
        )
    )


class _World:
    """The users and groups of a server, as it shows them to one client."""

    def __init__(self, origin: str, users: list[dict[str, Any]], groups: list[dict[str, Any]]) -> None:
        self.origin = origin
        self.users = [models.User.model_validate(each, scim_ctx=None) for each in users]
        self.groups = [models.Group.model_validate(each, scim_ctx=None) for each in groups]


@pytest.fixture(scope="module")
async def world(provider: Server) -> AsyncIterator[_World]:
    await execute("TRUNCATE users, groups CASCADE")
    async with httpx.AsyncClient(timeout=30, verify=TLS) as http:
        scim: ScimClient = await client(provider, http)
        other = await client(provider, http)
        ids = []
        for number, name in enumerate(NAMES):
            values: dict[str, Any] = {
                "displayName": name or None,
                "userName": f"{'abel'[number % 4]}{number}@e.example",
            }
            if number % 2:
                values |= {"name": {"givenName": name or None, "familyName": "Lee"}, "externalId": f"e{number}"}
            if number % 3 == 0:
                values |= {"phoneNumbers": [{"value": f"+491234567{number}"}], "locale": "de", "nickName": "BO"}
            if number % 4 == 1:
                values |= {"addresses": [{"locality": "London", "country": "UK"}], "timezone": "Europe/London"}
            user = await scim.user(**values, active=number != 4)
            ids.append(user["id"])
            await other.patch(f"/Users/{user['id']}", {"op": "add", "path": "externalId", "value": "E1"})
        child = await scim.group(*ids[:3], displayName="ann")
        await scim.group(child["id"], ids[5], displayName="Bob Lee")
        await scim.group(displayName="work", externalId="e1")
        await execute(
            "UPDATE users SET created_at = '2020-01-01', updated_at = '2021-06-01T10:00:00Z' WHERE locale = 'de'"
        )
        users = (await scim.ok("GET", "/Users?count=200"))["Resources"]
        groups = (await scim.ok("GET", "/Groups?count=200"))["Resources"]
        yield _World(f"scim:{scim.id}", users, groups)


async def _found(searched: Searched, origin: str, text: str) -> set[str]:
    found = await search(searched, [origin], parse_filter(text), Order(), limit=100)
    assert found.total == len(found.rows)
    return {str(row["id"]) for row in found.rows}


@settings(max_examples=60)
@given(data=st.data())
async def test_sql_answers_as_memory_does(world: _World, data: st.DataObject) -> None:
    people, groups = [str(user.id) for user in world.users], [str(group.id) for group in world.groups]
    text = data.draw(_filters(people, groups))
    try:
        expected = models.ScimFilter[models.User](text)
    except models.SCIMException:
        # It wants what is compared with an address to be one.
        reject()
    assert await _found(USERS, world.origin, text) == {str(user.id) for user in world.users if expected.match(user)}


@pytest.mark.parametrize(
    "text",
    [
        'displayName eq "ANN"', 'displayName sw "b"', 'displayName ne "work"', 'not (displayName co "o")', "members pr",
        "not (members pr)", 'members.type eq "group"', 'members[type eq "User"]', 'members.type ne "User"',
        'externalId eq "e1"', 'externalId eq "E1"', 'displayName gt "b"', 'meta.resourceType eq "Group"',
        'meta.created gt "2020-01-01T00:00:00Z"',
    ],
)  # fmt: skip
async def test_filters_of_groups(world: _World, text: str) -> None:
    expected = models.ScimFilter[models.Group](text)
    assert await _found(GROUPS, world.origin, text) == {str(each.id) for each in world.groups if expected.match(each)}


async def test_the_members_of_a_group(world: _World) -> None:
    """As Entra ID asks whether a user is in a group."""
    group = next(each for each in world.groups if each.members)
    assert group.members is not None
    member = group.members[0].value
    for text in (
        f'id eq "{group.id}" and members eq "{member}"',
        f'id eq "{group.id}" and members[value eq "{member}"]',
    ):
        assert await _found(GROUPS, world.origin, text) == {str(group.id)}


@pytest.mark.parametrize(
    "text",
    [
        "nothing pr", "name.nothing pr", "emails.nothing pr",
        'emails[nothing eq "x"]', 'name eq "x"', 'userName[a eq "x"]',
        "userName eq 1", "userName eq true", "active gt true", 'active eq "maybe"', "active eq 1", "meta.created eq 1",
        'meta.created eq "yesterday"', 'meta.created co "2020"', 'meta.created gt "0001-01-01T00:00:00+14:00"',
        "userName gt null", 'emails[urn:a:type eq "x"]', 'name[familyName eq "x"]', "userName.x pr", "active.x eq true",
    ],
)  # fmt: skip
async def test_what_cannot_be_compared(world: _World, text: str) -> None:
    with pytest.raises(InvalidFilterError):
        await _found(USERS, world.origin, text)


@pytest.mark.parametrize(
    "text",
    [
        "active eq \"True\"", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department pr",
        'manager eq "x"', 'roles[value eq "admin"]', 'emails[display eq "x"]', 'id eq "no id"', "emails.$ref pr",
    ],
)  # fmt: skip
async def test_what_is_accepted(world: _World, text: str) -> None:
    await _found(USERS, world.origin, text)


async def test_values_are_parameters(world: _World) -> None:
    for value in ("'; DROP TABLE users; --", "$1", "{}", "%s", "x' OR '1'='1", "\\'"):
        for operator in filters.OPERATORS - {"ne", "gt", "ge", "lt", "le"}:
            assert await _found(USERS, world.origin, f"displayName {operator} {_quoted(value)}") == set()
