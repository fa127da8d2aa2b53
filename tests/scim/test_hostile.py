"""Hostile input is refused in the form of SCIM, never with a 5xx, and changes nothing."""

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idp.infra.db.engine import fetchrow
from idp.scim import tokens
from idp.scim.attributes import USER
from tests.scim.conftest import ScimClient

PATHS = (
    "/Users",
    "/Groups",
    "/Users/.search",
    "/.search",
    "/Bulk",
    "/Me",
    "/Users/{id}",
    "/Groups/{id}",
    "/Nothing",
)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
NAMES = (
    "schemas", "userName", "displayName", "name", "emails", "active", "members", "Operations", "op", "path", "value",
    "id",
    "externalId", "filter", "sortBy", "cursor", "count", "startIndex", "attributes", "method", "bulkId", "data", "type",
    "phoneNumbers", "addresses", "$ref", "", "\0", "__proto__",
)  # fmt: skip
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(
        (
            "add", "Replace", "remove", "POST", "/Users/bulkId:a", "bulkId:a", "a@b.example", "members", "\0", "\u202e",
            'members[value eq "x"]', "name.givenName", 'emails[type eq "work"].value', "(" * 100, "x" * 5000, "nan",
            "%00",
            "urn:ietf:params:scim:schemas:core:2.0:User", "00000000-0000-7000-8000-000000000000", "é", "True",
            "9999-12-31T23:59:59Z", "userName eq \"x\"", "'; DROP TABLE users; --", "ascending",
        )
    ),
)  # fmt: skip
BODIES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)),
    max_leaves=12,
)
RAW = st.sampled_from(
    (
        b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"a": \xed\xa0\x80}', b"[" * 3000, b'{"a":' * 3000,
        b'{"userName": "\\ud800"}',
        b'{"userName": 1e999}', b'{"userName": "a", "userName": "b"}', b'{"userName": NaN}', b"\x00", b"{}" * 2,
        b'{"userName": "\\u0000@b.example"}', b'{"Operations": [' + b"{}," * 2000 + b"{}]}",
    )
)  # fmt: skip
QUERIES = st.one_of(
    st.sampled_from(
        (
            "", "filter=%00", "filter=%ff", "filter=" + "(" * 3000, "filter=userName+eq+%22\\u0000%22", "count=%2B1",
            "count=1e3",
            "sortBy=" + "a." * 2000, "attributes=" + "a," * 1000, "cursor=%F0%9F%92%A9", "cursor=bnVsbA",
            "cursor=WyJ4Iiwi",
            "a" * 5000, "=&=&=", "startIndex=-0", "filter=meta.created+gt+%22x%22", "filter=a+eq+" + "9" * 3000,
            "filter=%ED%A0%80",
        )
    ),
    st.builds(
        lambda name, value: f"{name}={quote(value.encode('utf-8', 'surrogatepass'))}",
        st.sampled_from(("filter", "sortBy", "sortOrder", "count", "startIndex", "cursor", "attributes",
        "excludedAttributes")),
        st.text(max_size=30),
    ),
)  # fmt: skip
HEADERS = st.sampled_from(
    (
        {}, {"Content-Type": "text/plain"}, {"Content-Type": ""}, {"Content-Type": "application/json; charset=latin-1"},
        {"If-Match": '"' * 50}, {"If-Match": "W/\"\""}, {"If-None-Match": "*"}, {"Accept": "text/html"},
    )
)  # fmt: skip


@settings(max_examples=40)
@given(
    method=st.sampled_from(METHODS),
    path=st.sampled_from(PATHS),
    query=QUERIES,
    body=st.one_of(RAW, BODIES),
    headers=HEADERS,
)
async def test_no_5xx(scim: ScimClient, method: str, path: str, query: str, body: Any, headers: dict[str, str]) -> None:
    """The client checks each response."""
    url = f"{path.replace('{id}', str(scim.id))}?{query}"
    given_body = (
        None if method in ("GET", "DELETE") else body if isinstance(body, bytes) else [body] if body is None else body
    )
    if path == "/Me":
        assert (await scim(method, url, given_body, headers=headers)).status_code == 501
    else:
        await scim(method, url, given_body, headers=headers)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("text/plain", 415),
        ("application/xml", 415),
        ("", 415),
        ("application/json", 201),
        ("Application/SCIM+JSON; charset=utf-8", 201),
    ],
)
async def test_the_type_of_a_body(scim: ScimClient, content_type: str, status: int) -> None:
    body = {"displayName": f"Type {content_type or 'none'} {scim.id}"}
    response = await scim("POST", "/Groups", body, headers={"Content-Type": content_type})
    assert response.status_code == status


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff", b"[" * 50_000], ids=lambda body: repr(body[:8]))
async def test_what_is_not_an_object(scim: ScimClient, body: bytes) -> None:
    for method, path in (
        ("POST", "/Users"),
        ("PUT", f"/Users/{scim.id}"),
        ("PATCH", f"/Groups/{scim.id}"),
        ("POST", "/Bulk"),
    ):
        assert await scim.refused(method, path, body) == (400, "invalidSyntax")


@pytest.mark.parametrize(("method", "path", "status"), [("PUT", "/Users", 405), ("GET", "/nope", 404)])
async def test_a_method_or_path_that_there_is_not(scim: ScimClient, method: str, path: str, status: int) -> None:
    response = await scim.http.request(method, f"{scim.url}{path}", headers={"Authorization": f"Bearer {scim.token}"})
    assert response.status_code == status
    assert response.headers["content-type"] == "application/scim+json"
    assert response.json()["status"] == str(status)


async def test_a_large_value_is_not_stored(scim: ScimClient) -> None:
    before = await fetchrow("SELECT count(*) AS number FROM users")
    for values in ({"userName": "x" * 50_000}, {"userName": "a@b.example", "displayName": "x" * 50_000}):
        assert await scim.refused("POST", "/Users", values) == (400, "invalidValue")
    assert await fetchrow("SELECT count(*) AS number FROM users") == before


@pytest.mark.parametrize(
    "query",
    [
        "count=--5", "startIndex=--5", "count=-", "sortBy=meta.resourceType", "sortBy=emails.primary",
        "sortBy=emails.type",
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/Users", "/Groups", "/.search"])
async def test_lists_that_cannot_be(scim: ScimClient, path: str, query: str) -> None:
    """Of the numbers and the attributes of a list."""
    name, _, value = query.partition("=")
    if path == "/.search":
        await scim("POST", path, {"schemas": [], name: value})
    else:
        assert await scim.refused("GET", f"{path}?{query}") == (400, "invalidValue")


@pytest.mark.parametrize(
    "path",
    [
        "phoneNumbers[type eq 5].value", "emails[value eq 5].value", "addresses[country eq 5].locality",
        'emails[primary eq "x"].value', "phoneNumbers[type eq true].value",
    ],
)  # fmt: skip
async def test_a_filter_of_another_type_describes_nothing(scim: ScimClient, path: str) -> None:
    user = await scim.user()
    answer = await scim.patch(f"/Users/{user['id']}", {"op": "add", "path": path, "value": "1"})
    assert (answer.status_code, answer.json()["scimType"]) == (400, "noTarget")


async def test_values_are_limited(scim: ScimClient) -> None:
    """Operations compare each with each."""
    user = await scim.user()
    many = [{"value": f"{number}"} for number in range(51)]
    assert await scim.refused("PUT", f"/Users/{user['id']}", user | {"phoneNumbers": many}) == (400, "invalidValue")
    operations = [{"op": "add", "path": "phoneNumbers", "value": [each]} for each in many]
    answer = await scim.patch(f"/Users/{user['id']}", *operations)
    assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidValue")
    answer = await scim.patch(f"/Users/{user['id']}", *operations[:50], *operations[:51])
    assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidSyntax")


async def test_members_of_an_object_are_limited(scim: ScimClient) -> None:
    """Each name is looked for among the attributes."""
    user = await scim.user()
    path, many = f"/Users/{user['id']}", {f"unknown{number}": 1 for number in range(201)}
    allowed = dict(list(many.items())[:150])
    assert (await scim.ok("PUT", path, user | allowed))["userName"] == user["userName"]
    bodies = [user | many, user | {"name": many}, user | {USER.schema: many}, user | {"emails": [many]}]
    for body in bodies:
        assert await scim.refused("PUT", path, body) == (400, "invalidValue")
    for operation in ({"op": "add", "value": many}, {"op": "replace", "path": "name", "value": many}):
        answer = await scim.patch(path, operation)
        assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidValue")


async def test_a_bulk_request_that_is_too_deep_does_nothing(scim: ScimClient) -> None:
    deep: Any = "bulkId:x"
    for _ in range(400):
        deep = [deep]
    first = f"{tokens.ids.uuid7()}@example.com"
    operations = [
        {"method": "POST", "path": "/Users", "bulkId": "1", "data": {"userName": first}},
        {"method": "POST", "path": "/Users", "bulkId": "2", "data": {"userName": "x", "name": deep}},
    ]
    assert await scim.refused("POST", "/Bulk", {"schemas": [], "Operations": operations}) == (400, "invalidSyntax")
    assert await fetchrow("SELECT FROM users WHERE email = $1", first) is None
