"""Attributes of users at the admin API."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from idp.accounts.tables import User
from idp.admin.roles import Role
from idp.infra.db.engine import fetch
from tests.admin.api.conftest import API, Caller, make_caller
from tests.admin.api.test_operations import problem
from tests.support.attributes import held_up, values_changed
from tests.support.server import Server

UNKNOWN = "/users/00000000-0000-7000-8000-000000000000/attributes"


class Declared:
    """Declares attributes at the API, and removes them after the test."""

    def __init__(self, owner: Caller) -> None:
        self.owner, self.names = owner, list[str]()

    async def __call__(self, type: str = "string", **declared: Any) -> str:
        name = declared.pop("name", f"a_{secrets.token_hex(6)}")
        values = {"name": name, "type": type, "label": {"default": name}} | declared
        answer = await self.owner("POST", "/attributes", values)
        assert answer.status_code == 201, answer.text
        self.names.append(name)
        return name


@pytest.fixture
async def declared(owner: Caller) -> AsyncIterator[Declared]:
    made = Declared(owner)
    yield made
    for name in made.names:
        await owner("DELETE", f"/attributes/{name}", If_Match="*")


@pytest.fixture
async def support(server: Server, http: httpx.AsyncClient) -> Caller:
    return await make_caller(server, http, Role.SUPPORT)


async def test_an_attribute_from_its_declaration_to_its_end(owner: Caller, declared: Declared, alice: User) -> None:
    name = await declared("choice", choices=["red", "blue"], label={"default": "Colour", "de": "Farbe"}, position=2)
    path = f"/attributes/{name}"
    shown = await owner("GET", path)
    assert shown.json()["label"] == {"default": "Colour", "de": "Farbe"}
    assert (shown.json()["visible_to"], shown.json()["editable_by"]) == (["person", "support"], ["support"])
    assert name in [one["name"] for one in (await owner("GET", "/attributes?limit=200")).json()["items"]]
    again = {"name": name, "type": "string", "label": {"default": "x"}}
    refused = problem(await owner("POST", "/attributes", again), 422, "invalid-attribute")
    assert "name" in refused["errors"]
    problem(await owner("PATCH", path, {"position": 1}), 428, "if-match-required")
    problem(await owner.changed("PATCH", path, {"type": "string"}), 422, "invalid-body")
    problem(await owner.changed("PATCH", path, {"choices": []}), 422, "invalid-attribute")
    changed = await owner.changed("PATCH", path, {"choices": ["red"], "searchable": True})
    assert (changed.json()["choices"], changed.json()["position"]) == (["red"], 2)
    problem(await owner("PATCH", path, {"position": 1}, If_Match=shown.headers["etag"]), 412, "outdated")
    values = await owner.changed("PATCH", f"/users/{alice.id}/attributes", {"values": {name: "red"}})
    assert values.json() == {"values": {name: "red"}}
    assert (await owner("GET", f"{path}/usage")).json() == {"values": 1}
    assert (await owner.changed("DELETE", path)).status_code == 204
    problem(await owner("GET", path), 404, "not-found")
    problem(await owner("GET", f"{path}/usage"), 404, "not-found")
    assert (await owner("GET", f"/users/{alice.id}/attributes")).json() == {"values": {}}
    events = await fetch("SELECT event FROM audit_event WHERE detail ->> 'attribute' = $1 ORDER BY id", name)
    assert [row["event"] for row in events] == ["attribute_declared", "attribute_updated", "attribute_deleted"]


async def test_values_of_a_user(owner: Caller, declared: Declared, alice: User) -> None:
    number, many = await declared("integer"), await declared("date", multivalued=True)
    path = f"/users/{alice.id}/attributes"
    read = await owner("GET", path)
    assert read.json() == {"values": {}}
    problem(await owner("PATCH", path, {"values": {number: 1}}), 428, "if-match-required")
    values = {number: 7, many: ["2024-02-29", "1990-12-31"]}
    written = await owner("PATCH", path, {"values": values}, If_Match=read.headers["etag"])
    assert written.json() == {"values": values}
    assert written.headers["etag"] == (await owner("GET", path)).headers["etag"]
    # Somebody else has read the values before.
    problem(await owner("PATCH", path, {"values": {number: 8}}, If_Match=read.headers["etag"]), 412, "outdated")
    for wrong in ({number: "7"}, {number: [7]}, {many: ["2023-02-29"]}, {many: "1990-12-31"}, {"undeclared": 1}):
        refused = problem(await owner.changed("PATCH", path, {"values": wrong}), 422, "invalid-value")
        assert list(refused["errors"]) == list(wrong)
    problem(await owner.changed("PATCH", path, {"values": {number: "\0"}}), 400, "malformed-json")
    problem(await owner.changed("PATCH", path, {"values": [1]}), 422, "invalid-body")
    assert (await owner.changed("PATCH", path, {"values": {number: None}})).json()["values"].keys() == {many}
    problem(await owner("GET", UNKNOWN), 404, "not-found")
    problem(await owner("PATCH", UNKNOWN, {"values": {number: 1}}, If_Match="*"), 404, "not-found")


async def test_a_user_is_created_with_values(owner: Caller, declared: Declared) -> None:
    name = await declared()
    email = f"{secrets.token_hex(6)}@example.com"
    problem(await owner("POST", "/users", {"email": email, "attributes": {name: 1}}), 422, "invalid-value")
    created = await owner("POST", "/users", {"email": email, "attributes": {name: "Sales"}, "send_mail": False})
    assert created.status_code == 201
    path = f"/users/{created.json()['id']}/attributes"
    assert (await owner("GET", path)).json() == {"values": {name: "Sales"}}


async def test_support_sees_and_edits_what_it_may(
    owner: Caller, support: Caller, declared: Declared, alice: User
) -> None:
    theirs = await declared(searchable=True)
    shown = await declared(editable_by=[], searchable=True)
    hidden = await declared(visible_to=["person"], editable_by=[], searchable=True)
    path = f"/users/{alice.id}/attributes"
    await owner.changed("PATCH", path, {"values": {theirs: "a", shown: "b", hidden: "c"}})
    assert (await support("GET", path)).json() == {"values": {theirs: "a", shown: "b"}}
    assert (await support.changed("PATCH", path, {"values": {theirs: "z"}})).json()["values"][theirs] == "z"
    for name in (shown, hidden):
        problem(await support.changed("PATCH", path, {"values": {name: "z"}}), 403, "forbidden")
        body = {"email": f"{secrets.token_hex(6)}@example.com", "attributes": {name: "z"}}
        problem(await support("POST", "/users", body), 403, "forbidden")
    problem(await support("POST", "/attributes", {"name": "x", "type": "string", "label": {"default": "x"}}), 403,
            "forbidden")  # fmt: skip
    assert await found(support, f"attributes.{shown}=b") == [str(alice.id)]
    # A search would tell the value.
    problem(await support("GET", f"/users?attributes.{hidden}=c"), 400, "invalid-query")
    assert await found(owner, f"attributes.{hidden}=c") == [str(alice.id)]


async def found(caller: Caller, query: str) -> list[str]:
    answer = await caller("GET", f"/users?{query}")
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["items"]]


async def test_users_are_listed_by_attributes(owner: Caller, declared: Declared, alice: User) -> None:
    number, text, plain = await declared("integer", searchable=True), await declared(searchable=True), await declared()
    values = {number: 7, text: "Ärzte & Co", plain: "x"}
    await owner.changed("PATCH", f"/users/{alice.id}/attributes", {"values": values})
    assert await found(owner, f"attributes.{number}=7&attributes.{text}=ÄRZTE %26 Co") == [str(alice.id)]
    assert await found(owner, f"attributes.{number}=8&attributes.{text}=Ärzte %26 Co") == []
    assert await found(owner, f"attributes.{number}=7&email={alice.email}&sort=-email&limit=1") == [str(alice.id)]
    problem(await owner("GET", f"/users?attributes.{plain}=x"), 400, "invalid-query")
    problem(await owner("GET", f"/users?attributes.{number}=x"), 400, "invalid-query")
    problem(await owner("GET", f"/users?attributes.{text}=%00"), 400, "invalid-query")
    problem(await owner("GET", "/users?attributes.undeclared'=x"), 400, "invalid-query")
    problem(await owner("GET", f"{owner.issuer}{API}/users?attributes.=x"), 400, "invalid-query")


async def test_values_are_indexed_and_deleted_in_the_background(
    owner: Caller, support: Caller, declared: Declared, alice: User
) -> None:
    name = await declared()
    path = f"/attributes/{name}"
    await owner.changed("PATCH", f"/users/{alice.id}/attributes", {"values": {name: "x"}})
    async with held_up(name):
        changed = await owner.changed("PATCH", path, {"searchable": True})
        assert (changed.json()["searchable"], changed.json()["indexing"]) == (True, True)
        (job,) = (await owner("GET", f"/attribute_jobs?attribute={name}")).json()["items"]
        assert job == {**job, "attribute": name, "kind": "index", "done": 0, "total": 1}
        problem(await owner("GET", f"/users?attributes.{name}=x"), 409, "not-searchable-yet")
        assert await found(owner, f"email={alice.email}") == [str(alice.id)]
    await values_changed(name)
    assert (await owner("GET", f"/attribute_jobs?attribute={name}")).json()["items"] == []
    assert (await owner("GET", path)).json()["indexing"] is False
    assert await found(owner, f"attributes.{name}=x") == [str(alice.id)]
    async with held_up(name):
        assert (await owner.changed("DELETE", path)).status_code == 204
        (job,) = (await owner("GET", f"/attribute_jobs?attribute={name}")).json()["items"]
        assert job["kind"] == "delete"
        assert (await owner("GET", f"/users/{alice.id}/attributes")).json() == {"values": {}}
        again = {"name": name, "type": "string", "label": {"default": "x"}}
        problem(await owner("POST", "/attributes", again), 409, "attribute-being-deleted")
    await values_changed(name)
    assert await declared(name=name) == name
    assert (await owner("GET", f"/users/{alice.id}/attributes")).json() == {"values": {}}
    problem(await support("GET", "/attribute_jobs?sort=x"), 400, "invalid-query")
