"""Groups over SCIM, and who is in them."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from idp.directory import groups as directory
from idp.directory.effective import memberships
from idp.infra.db.engine import fetch, fetchrow
from idp.scim.repository import groups as repository
from tests.scim.conftest import GROUP, PATCH, ScimClient, client
from tests.support.server import Server


async def _members(scim: ScimClient, group: dict[str, Any]) -> set[str]:
    found = await scim.ok("GET", f"/Groups/{group['id']}")
    return {member["value"] for member in found["members"]}


async def _people(scim: ScimClient, number: int) -> list[str]:
    return [(await scim.user())["id"] for _ in range(number)]


async def test_the_life_of_a_group(scim: ScimClient) -> None:
    person = (await scim.user())["id"]
    name = f"Staff {uuid4()}"
    body = {"schemas": [GROUP], "displayName": name, "externalId": "g1", "members": [{"value": person}]}
    created = await scim("POST", "/Groups", body)
    assert created.status_code == 201
    group = created.json()
    assert created.headers["location"] == group["meta"]["location"] == f"{scim.url}/Groups/{group['id']}"
    assert group["members"] == [{"value": person, "$ref": f"{scim.url}/Users/{person}", "type": "User"}]
    assert await scim.ok("GET", f"/Groups/{group['id']}") == group
    without = await scim.ok("GET", f"/Groups/{group['id']}?excludedAttributes=members")
    assert without == {key: value for key, value in group.items() if key != "members"}
    found = await scim.ok("GET", f'/Groups?excludedAttributes=members&filter=displayName eq "{name.upper()}"')
    assert found["Resources"] == [without]
    shown = (await scim.ok("GET", f"/Users/{person}"))["groups"]
    assert shown == [
        {"value": group["id"], "$ref": group["meta"]["location"], "display": name, "type": "direct"}
    ]  # fmt: skip
    rows = await fetch("SELECT origin FROM group_member WHERE user_id = $1", UUID(person))
    assert [row["origin"] for row in rows] == [f"scim:{scim.id}"]
    (event,) = await fetch(
        "SELECT actor FROM audit_event WHERE event = 'group_member_added' AND user_id = $1", UUID(person)
    )
    assert event["actor"] == f"scim:{scim.id}"
    assert (await scim("DELETE", f"/Groups/{group['id']}")).status_code == 204
    assert await scim.refused("GET", f"/Groups/{group['id']}") == (404, None)
    assert "groups" not in await scim.ok("GET", f"/Users/{person}")


async def test_members_are_added_and_removed(scim: ScimClient) -> None:
    one, two, three = await _people(scim, 3)
    group = await scim.group(one)
    path = f"/Groups/{group['id']}"

    async def patch(*operations: dict[str, Any]) -> set[str]:
        response = await scim.patch(path, *operations)
        assert (response.status_code, response.content) == (204, b""), response.text
        return await _members(scim, group)

    def add(*ids: str) -> dict[str, Any]:
        return {"op": "Add", "path": "members", "value": [{"$ref": None, "value": each} for each in ids]}

    def selected(*ids: str) -> dict[str, Any]:
        chosen = " or ".join(f'value eq "{each}"' for each in ids)
        return {"op": "remove", "path": f"members[{chosen}]"}

    assert await patch(add(two, one, two)) == {one, two}
    assert await patch({"op": "add", "value": {"members": [{"value": three}]}}) == {one, two, three}
    assert await patch(selected(one)) == {two, three}
    assert await patch(selected(str(uuid4())), selected("nobody")) == {two, three}
    assert await patch(selected(two, three)) == set()
    assert await patch(add(one, two, three), selected(two)) == {one, three}
    assert await patch(selected(one), add(one), {"op": "Remove", "path": "members", "value": [{"value": three}]}) == {
        one
    }
    assert await patch({"op": "replace", "path": "members", "value": [{"value": two}, {"value": three}]}) == {
        two,
        three,
    }
    assert await patch({"op": "remove", "path": 'members[type eq "User" and value eq "%s"]' % two}) == {three}  # noqa: UP031
    assert await patch({"op": "remove", "path": "members"}) == set()
    assert await patch({"op": "replace", "value": {"id": group["id"], "displayName": f"New {uuid4()}"}}) == set()
    changes = await fetch(
        "SELECT event FROM audit_event WHERE detail ->> 'group_id' = $1 AND event LIKE 'group_member%'", group["id"]
    )
    assert len(changes) % 2 == 0


async def test_replace(scim: ScimClient) -> None:
    one, two = await _people(scim, 2)
    group = await scim.group(one, externalId="e")
    name = f"Other {uuid4()}"
    replaced = await scim.ok("PUT", f"/Groups/{group['id']}", {"displayName": name, "members": [{"value": two}]})
    assert (replaced["displayName"], replaced["externalId"]) == (name, "e")
    assert await _members(scim, group) == {two}
    await scim.ok("PUT", f"/Groups/{group['id']}", {"displayName": name})
    assert await _members(scim, group) == set()


@pytest.mark.parametrize(
    ("operation", "scim_type"),
    [
        ({"op": "add", "path": "members", "value": [{"value": "x"}]}, "invalidValue"),
        (
            {"op": "add", "path": "members", "value": [{"value": "00000000-0000-7000-8000-000000000000"}]},
            "invalidValue",
        ),
        ({"op": "add", "path": "members", "value": [{}]}, "invalidValue"),
        ({"op": "replace", "path": 'members[value eq "x"].value', "value": "y"}, "invalidValue"),
        ({"op": "remove", "path": "displayName"}, "mutability"),
        ({"op": "replace", "path": "displayName", "value": ""}, "invalidValue"),
        ({"op": "replace", "path": "displayName", "value": " x"}, "invalidValue"),
        ({"op": "replace", "path": "id", "value": "x"}, "mutability"),
        ({"op": "replace", "path": "nothing", "value": "x"}, "invalidPath"),
        ({"op": "remove"}, "noTarget"),
    ],
    ids=str,
)
async def test_refused_changes(scim: ScimClient, operation: dict[str, Any], scim_type: str) -> None:
    group = await scim.group()
    response = await scim.patch(f"/Groups/{group['id']}", operation)
    assert (response.status_code, response.json()["scimType"]) == (400, scim_type)


async def test_a_refused_request_changes_nothing(scim: ScimClient) -> None:
    (one,) = await _people(scim, 1)
    group = await scim.group()
    response = await scim.patch(
        f"/Groups/{group['id']}",
        {"op": "replace", "path": "displayName", "value": f"Half {uuid4()}"},
        {"op": "add", "path": "members", "value": [{"value": one}, {"value": str(uuid4())}]},
    )
    assert response.status_code == 400
    assert await scim.ok("GET", f"/Groups/{group['id']}") == group


async def test_names_are_unique(scim: ScimClient) -> None:
    group, other = await scim.group(), await scim.group()
    name = {"displayName": group["displayName"].upper()}
    assert await scim.refused("POST", "/Groups", name) == (409, "uniqueness")
    assert await scim.refused("PUT", f"/Groups/{other['id']}", name) == (409, "uniqueness")
    response = await scim.patch(f"/Groups/{other['id']}", {"op": "replace", "value": name})
    assert (response.status_code, response.json()["scimType"]) == (409, "uniqueness")
    for wrong in ({}, {"displayName": None}, {"displayName": ["a", "b"]}):
        assert await scim.refused("POST", "/Groups", wrong) == (400, "invalidValue")


async def test_a_group_in_a_group(scim: ScimClient) -> None:
    (one,) = await _people(scim, 1)
    child = await scim.group(one)
    parent = await scim.group(child["id"])
    assert parent["members"] == [{"value": child["id"], "$ref": child["meta"]["location"], "type": "Group"}]
    held = (await memberships(UUID(one))).groups
    assert held == {UUID(child["id"]): child["displayName"], UUID(parent["id"]): parent["displayName"]}
    types = {group["value"]: group["type"] for group in (await scim.ok("GET", f"/Users/{one}"))["groups"]}
    assert types == {child["id"]: "direct", parent["id"]: "indirect"}
    other = await scim.group()
    member = {"value": child["id"]}
    response = await scim.patch(f"/Groups/{other['id']}", {"op": "add", "path": "members", "value": [member]})
    assert (response.status_code, response.json()["scimType"]) == (400, "invalidValue")
    above = await scim.patch(
        f"/Groups/{child['id']}", {"op": "add", "path": "members", "value": [{"value": parent["id"]}]}
    )
    assert above.status_code in (400, 409)
    # Below none, it can be put below another one.
    await scim.patch(f"/Groups/{parent['id']}", {"op": "remove", "path": f'members[value eq "{child["id"]}"]'})
    assert (await scim.patch(f"/Groups/{other['id']}", {"op": "add", "path": "members", "value": [member]})).is_success
    assert (await scim("DELETE", f"/Groups/{other['id']}")).status_code == 204
    stored = await fetchrow("SELECT parent_id FROM groups WHERE id = $1", UUID(child["id"]))
    assert stored is not None
    assert stored["parent_id"] is None


async def test_the_version_changes_with_the_members(scim: ScimClient) -> None:
    one, two = await _people(scim, 2)
    group = await scim.group(one)
    path = f"/Groups/{group['id']}"
    seen = [group["meta"]["version"]]
    for operation in (
        {"op": "add", "path": "members", "value": [{"value": two}]},
        {"op": "remove", "path": f'members[value eq "{one}"]'},
        {"op": "add", "path": "members", "value": [{"value": one}]},
        {"op": "replace", "path": "displayName", "value": f"V {uuid4()}"},
        {"op": "add", "path": "externalId", "value": "e"},
    ):
        body = {"schemas": [PATCH], "Operations": [operation]}
        if len(seen) > 1:
            assert await scim.refused("PATCH", path, body, headers={"If-Match": seen[-2]}) == (412, None)
        assert (await scim("PATCH", path, body, headers={"If-Match": seen[-1]})).status_code == 204
        seen.append((await scim.ok("GET", path))["meta"]["version"])
    assert len(set(seen)) == len(seen)
    changed = await scim("PATCH", f"{path}?attributes=displayName", body)
    assert changed.json().keys() == {"schemas", "id", "displayName"}


async def test_members_that_are_too_many_are_left_out(scim: ScimClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are absent, not an empty list. The users of a group can be listed."""
    people = await _people(scim, 3)
    group = await scim.group(*people)
    monkeypatch.setattr(repository, "MAX_MEMBERS", 2)
    assert await repository.members_of([UUID(group["id"])]) is None
    monkeypatch.undo()
    found = await scim.ok("GET", f'/Users?filter=groups.value eq "{group["id"]}"&attributes=id')
    assert {user["id"] for user in found["Resources"]} == set(people)
    direct = await scim.ok("GET", f'/Users?filter=groups[value eq "{group["id"]}" and type eq "indirect"]')
    assert direct["totalResults"] == 0


async def test_members_of_others_stay_unless_they_are_named(
    provider: Server, scim: ScimClient, scim_http: httpx.AsyncClient
) -> None:
    """Removing means removing, whoever added. What is added twice keeps its first origin."""
    one, two = await _people(scim, 2)
    group = await scim.group()
    await directory.add_members(UUID(group["id"]), [UUID(one)])
    other = await client(provider, scim_http)
    members = [{"value": one}, {"value": two}]
    assert (await other.patch(f"/Groups/{group['id']}", {"op": "add", "path": "members", "value": members})).is_success
    rows = await fetch("SELECT user_id, origin FROM group_member WHERE group_id = $1", UUID(group["id"]))
    assert {str(row["user_id"]): row["origin"] for row in rows} == {one: "admin", two: f"scim:{other.id}"}
    await scim.patch(f"/Groups/{group['id']}", {"op": "remove", "path": f'members[value eq "{two}"]'})
    assert await _members(scim, group) == {one}


async def test_concurrent_changes_of_members(scim: ScimClient) -> None:
    """Each of them counts, and none is refused."""
    people = await _people(scim, 12)
    groups = [await scim.group(), await scim.group()]

    async def add(number: int) -> int:
        members = [{"value": each} for each in (people if number % 2 else people[::-1])]
        path = f"/Groups/{groups[number % 4 // 2]['id']}"
        return (await scim.patch(path, {"op": "add", "path": "members", "value": members})).status_code

    assert set(await asyncio.gather(*(add(number) for number in range(12)))) == {204}
    for group in groups:
        assert await _members(scim, group) == set(people)
