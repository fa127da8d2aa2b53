"""Bulk requests (RFC 7644 section 3.7)."""

from typing import Any
from uuid import uuid4

import pytest

from tests.scim.conftest import PATCH, ScimClient

REQUEST = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
RESPONSE = "urn:ietf:params:scim:api:messages:2.0:BulkResponse"


async def _bulk(scim: ScimClient, *operations: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    answer = await scim.ok("POST", "/Bulk", {"schemas": [REQUEST], "Operations": list(operations)} | more)
    assert answer["schemas"] == [RESPONSE]
    found: list[dict[str, Any]] = answer["Operations"]
    return found


def _post(bulk_id: str, **data: Any) -> dict[str, Any]:
    kind = "Users" if "userName" in data else "Groups"
    return {"method": "POST", "path": f"/{kind}", "bulkId": bulk_id, "data": data}


def _email() -> str:
    return f"{uuid4()}@example.com"


async def test_references(scim: ScimClient) -> None:
    """A group that comes before its member, and a change of what the request creates."""
    group, user, renamed = await _bulk(
        scim,
        _post("g", displayName=f"G {uuid4()}", members=[{"value": "bulkId:u"}]),
        _post("u", userName=_email()),
        {
            "method": "PATCH", "path": "/Users/bulkId:u",
            "data": {"schemas": [PATCH], "Operations": [{"op": "add", "path": "nickName", "value": "N"}]},
        },
    )  # fmt: skip
    assert [each["status"] for each in (group, user, renamed)] == ["201", "201", "200"]
    assert (group["bulkId"], user["bulkId"]) == ("g", "u")
    person = user["location"].rpartition("/")[2]
    shown = await scim.ok("GET", f"/Users/{person}")
    assert shown["nickName"] == "N"
    assert shown["meta"]["version"] == renamed["version"]
    assert [each["value"] for each in shown["groups"]] == [group["location"].rpartition("/")[2]]


async def test_all_methods(scim: ScimClient) -> None:
    user, group = await scim.user(), await scim.group()
    stale = 'W/"stale"'
    done = await _bulk(
        scim,
        {"method": "put", "path": f"/Users/{user['id']}", "data": {"userName": user["userName"], "nickName": "P"}},
        {"method": "PUT", "path": f"/Users/{user['id']}", "version": stale, "data": {"userName": user["userName"]}},
        {
            "method": "PATCH",
            "path": f"/Groups/{group['id']}",
            "data": {"Operations": [{"op": "remove", "path": "members"}]},
        },
        {"method": "DELETE", "path": f"{scim.url}/Groups/{group['id']}"},
        {"method": "DELETE", "path": f"/Groups/{group['id']}"},
        {"method": "POST", "path": "/Nothing", "bulkId": "n", "data": {}},
        {"method": "DELETE", "path": "/Users"},
        {"method": "PUT", "path": f"/Users/{user['id']}", "data": "text"},
        _post("u", userName=user["userName"]),
        _post("v", userName="no address"),
    )
    assert [each["status"] for each in done] == ["200", "412", "200", "204", "404", "400", "400", "400", "409", "400"]
    assert done[8]["response"]["scimType"] == "uniqueness"
    assert "location" not in done[8]
    assert "response" not in done[0]
    assert (await scim.ok("GET", f"/Users/{user['id']}"))["nickName"] == "P"


async def test_it_ends_after_errors(scim: ScimClient) -> None:
    wrong = _post("a", userName="no address")
    first, second, third = wrong, wrong | {"bulkId": "b"}, _post("c", userName=_email())
    assert [each["status"] for each in await _bulk(scim, first, third, second, failOnErrors=1)] == ["400"]
    done = await _bulk(scim, first, third, second, failOnErrors=2)
    assert [each["status"] for each in done] == ["400", "201", "400"]


async def test_a_reference_to_nothing(scim: ScimClient) -> None:
    """To an operation that fails, to none, and to each other."""
    done = await _bulk(
        scim,
        _post("u", userName="no address"),
        _post("g", displayName=f"G {uuid4()}", members=[{"value": "bulkId:u"}]),
        _post("a", displayName=f"A {uuid4()}", members=[{"value": "bulkId:b"}]),
        _post("b", displayName=f"B {uuid4()}", members=[{"value": "bulkId:a"}]),
        {"method": "DELETE", "path": "/Users/bulkId:none"},
    )
    assert {each["status"] for each in done} == {"400"}
    assert {each["response"]["scimType"] for each in done} == {"invalidValue"}


@pytest.mark.parametrize(
    ("body", "status", "scim_type"),
    [
        ({}, 400, "invalidSyntax"),
        ({"Operations": []}, 400, "invalidSyntax"),
        ({"Operations": {}}, 400, "invalidSyntax"),
        ({"Operations": ["x"]}, 400, "invalidSyntax"),
        ({"Operations": [{"method": "GET", "path": "/Users"}]}, 400, "invalidSyntax"),
        ({"Operations": [{"method": "POST", "path": "/Users", "data": {}}]}, 400, "invalidSyntax"),
        ({"Operations": [{"method": "DELETE"}]}, 400, "invalidSyntax"),
        ({"Operations": [{"method": "DELETE", "path": "/Users/x", "version": 1}]}, 400, "invalidSyntax"),
        ({"Operations": [{"method": "DELETE", "path": "/Users/x"}], "failOnErrors": 0}, 400, "invalidSyntax"),
        ({"Operations": [{"method": "DELETE", "path": "/Users/x", "bulkId": "a"}] * 2}, 400, "invalidSyntax"),
        ({"Operations": [{"method": "DELETE", "path": "/Users/x"}] * 101}, 413, None),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_malformed(scim: ScimClient, body: dict[str, Any], status: int, scim_type: str | None) -> None:
    assert await scim.refused("POST", "/Bulk", body) == (status, scim_type)


async def test_the_size_of_a_body(scim: ScimClient) -> None:
    members = [{"value": str(uuid4()), "display": "x" * 40} for _ in range(2000)]
    assert await scim.refused("POST", "/Groups", {"displayName": f"{uuid4()}", "members": members}) == (
        400, "invalidValue",
    )  # fmt: skip
    assert (await scim.refused("POST", "/Groups", {"displayName": "x" * 1024 * 1024}))[0] == 413
    # Of others, so much is not even read.
    for token in ("x", "a.b.c"):
        scim.token = token
        assert (await scim.refused("POST", "/Groups", {"displayName": "x", "members": members}))[0] == 413
        assert (await scim.refused("POST", "/Groups", {"displayName": "x"}))[0] == 401
