"""Declared attributes over SCIM: the enterprise extension where the names are its, and an extension of our own."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from idp.accounts.attributes import declaration
from idp.accounts.attributes.registry import attributes
from idp.infra.db.engine import fetch
from idp.scim import extensions
from tests.scim.conftest import PATCH, ScimClient
from tests.support.attributes import values_changed
from tests.support.oauth import until_settled
from tests.support.server import Server

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
OWN = "urn:ietf:params:scim:schemas:extension:idp:2.0:User"
SALES = {"department": "Sales", "employeeNumber": 7}
MINE = {"remote": True, "languages": ["de", "en"], "since": "2026-11-30"}

DECLARED: tuple[dict[str, Any], ...] = (
    {"name": "department", "type": "choice", "choices": ("Sales", "Support"), "searchable": True},
    {"name": "employee_number", "type": "integer"},
    {"name": "remote", "type": "boolean"},
    {"name": "languages", "type": "string", "multivalued": True, "searchable": True},
    {"name": "since", "type": "date"},
    {"name": "salary", "type": "integer", "visible_to": (), "editable_by": ()},
    {"name": "badge", "type": "string", "editable_by": ()},
)


@pytest.fixture
async def extended(provider: Server, scim: ScimClient) -> AsyncIterator[ScimClient]:
    """A client of a server with declared attributes."""
    for values in DECLARED:
        await declaration.declare(**{"label": {"default": values["name"].title()}} | values)
    await attributes.load()
    await until_settled(provider.issuer)
    yield scim
    for values in DECLARED:
        await declaration.delete(values["name"])
        await values_changed(values["name"])
    await attributes.load()
    await until_settled(provider.issuer)


async def test_the_schemas(extended: ScimClient) -> None:
    own = await extended.ok("GET", f"/Schemas/{OWN}")
    assert {each["name"]: (each["type"], each["multiValued"], each["mutability"]) for each in own["attributes"]} == {
        "remote": ("boolean", False, "readWrite"),
        "languages": ("string", True, "readWrite"),
        "since": ("string", False, "readWrite"),
        "badge": ("string", False, "readOnly"),
    }
    enterprise = await extended.ok("GET", f"/Schemas/{ENTERPRISE}")
    assert {each["name"]: each.get("canonicalValues") for each in enterprise["attributes"]} == {
        "department": ["Sales", "Support"],
        "employeeNumber": None,
    }
    user = await extended.ok("GET", "/ResourceTypes/User")
    assert [each["schema"] for each in user["schemaExtensions"]] == [ENTERPRISE, OWN]


async def test_values_and_members_are_limited(extended: ScimClient) -> None:
    """Operations compare each with each."""
    user = await extended.user()
    path, many = f"/Users/{user['id']}", [f"x{number}" for number in range(51)]
    assert await extended.refused("PUT", path, user | {OWN: {"languages": many}}) == (400, "invalidValue")
    assert await extended.refused("PUT", path, user | {OWN: {f"x{number}": 1 for number in range(201)}}) == (
        400,
        "invalidValue",
    )
    for values in ([many], [many[:30], many[30:]]):
        operations = [{"op": "add", "path": f"{OWN}:languages", "value": each} for each in values]
        answer = await extended.patch(path, *operations)
        assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidValue")
        assert str(50) in answer.json()["detail"]


async def test_a_value_cannot_be_selected(extended: ScimClient) -> None:
    """Otherwise all values would be removed."""
    user = await extended.user(**{OWN: MINE})
    path = f'{OWN}:languages[value eq "de"]'
    for operation in ({"op": "remove", "path": path}, {"op": "replace", "path": path, "value": "fr"}):
        answer = await extended.patch(f"/Users/{user['id']}", operation)
        assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidPath")
    assert (await extended.ok("GET", f"/Users/{user['id']}"))[OWN] == MINE


def test_extensions_are_made_once_for_a_generation_of_the_declarations() -> None:
    """A request can name thousands of attributes."""
    made = extensions._extensions(attributes.generation)
    assert extensions._extensions(attributes.generation) is made
    assert extensions._extensions(attributes.generation + 1) is not made


async def test_values(extended: ScimClient) -> None:
    scim = extended
    user = await scim.user(**{ENTERPRISE: SALES | {"manager": {"value": "x"}}, OWN: MINE | {"badge": "b", "salary": 5}})
    assert (user[ENTERPRISE], user[OWN]) == (SALES, MINE)
    assert user["schemas"][1:] == [ENTERPRISE, OWN]
    path = f"/Users/{user['id']}"
    assert await scim.ok("GET", path) == user
    rows = await fetch("SELECT DISTINCT origin FROM user_attribute WHERE user_id = $1", UUID(user["id"]))
    assert [row["origin"] for row in rows] == [f"scim:{scim.id}"]

    changed = (
        await scim.patch(
            path,
            {"op": "Replace", "path": f"{ENTERPRISE}:department", "value": "Support"},
            {"op": "Add", "path": f"{ENTERPRISE}:employeeNumber", "value": "8"},
            {"op": "add", "path": f"{OWN}:languages", "value": ["fr", "de"]},
            {"op": "remove", "path": f"{OWN}:since"},
            {"op": "replace", "value": {f"{OWN}:remote": "False", f"{OWN}:badge": "x", f"{ENTERPRISE}:manager": "y"}},
        )
    ).json()
    assert changed[ENTERPRISE] == {"department": "Support", "employeeNumber": 8}
    assert changed[OWN] == {"remote": False, "languages": ["de", "en", "fr"]}
    assert changed["meta"]["version"] != user["meta"]["version"]
    nested = {"op": "add", "value": {ENTERPRISE: {"department": "Sales"}, OWN: {"since": "2020-02-29"}}}
    changed = (await scim.patch(path, nested)).json()
    assert (changed[ENTERPRISE]["department"], changed[OWN]["since"]) == ("Sales", "2020-02-29")
    gone = {"op": "remove", "path": f"{OWN}:languages", "value": ["de", "fr"]}
    assert (await scim.patch(path, gone)).json()[OWN]["languages"] == ["en"]

    # A replacement keeps an extension that it does not name, and replaces one that it does.
    kept = await scim.ok("PUT", path, {"userName": user["userName"], ENTERPRISE: {"employeeNumber": 9}})
    assert (kept[ENTERPRISE], kept[OWN]["languages"]) == ({"employeeNumber": 9}, ["en"])


async def test_parts(extended: ScimClient) -> None:
    user = await extended.user(**{ENTERPRISE: SALES, OWN: MINE})
    some = await extended.ok("GET", f"/Users/{user['id']}?attributes={ENTERPRISE}:department,{OWN}")
    assert {name: some[name] for name in some if name not in ("schemas", "id")} == {
        ENTERPRISE: {"department": "Sales"}, OWN: MINE,
    }  # fmt: skip
    rest = await extended.ok("GET", f"/Users/{user['id']}?excludedAttributes={ENTERPRISE}:department,{OWN}")
    assert rest[ENTERPRISE] == {"employeeNumber": 7}
    assert OWN not in rest


@pytest.mark.parametrize(
    ("operation", "scim_type"),
    [
        ({"op": "replace", "path": f"{ENTERPRISE}:department", "value": "Nowhere"}, "invalidValue"),
        ({"op": "replace", "path": f"{ENTERPRISE}:employeeNumber", "value": "seven"}, "invalidValue"),
        ({"op": "replace", "path": f"{ENTERPRISE}:employeeNumber", "value": 7.5}, "invalidValue"),
        ({"op": "replace", "path": f"{ENTERPRISE}:employeeNumber", "value": True}, "invalidValue"),
        ({"op": "replace", "path": f"{OWN}:since", "value": "yesterday"}, "invalidValue"),
        ({"op": "replace", "path": f"{OWN}:remote", "value": "perhaps"}, "invalidValue"),
        ({"op": "replace", "path": f"{OWN}:languages", "value": [1]}, "invalidValue"),
        ({"op": "replace", "path": f"{OWN}:badge", "value": "x"}, "mutability"),
    ],
)
async def test_refused_values(extended: ScimClient, operation: dict[str, Any], scim_type: str) -> None:
    user = await extended.user(**{ENTERPRISE: SALES})
    response = await extended.patch(f"/Users/{user['id']}", operation)
    assert (response.status_code, response.json()["scimType"]) == (400, scim_type)
    assert await extended.ok("GET", f"/Users/{user['id']}") == user


async def test_what_support_does_not_see(extended: ScimClient) -> None:
    """It is neither shown, nor changed, nor searched."""
    user = await extended.user()
    body = {"schemas": [PATCH], "Operations": [{"op": "add", "path": f"{OWN}:salary", "value": 5}]}
    assert OWN not in await extended.ok("PATCH", f"/Users/{user['id']}", body)
    assert not await fetch("SELECT FROM user_attribute WHERE user_id = $1", UUID(user["id"]))
    assert (await extended.ok("GET", f"/Users?filter={OWN}:salary pr"))["totalResults"] == 0


async def test_filters(extended: ScimClient) -> None:
    one = (await extended.user(userName=f"one{uuid4()}@e.example", **{ENTERPRISE: SALES, OWN: MINE}))["id"]
    two = (await extended.user(userName=f"two{uuid4()}@e.example", **{ENTERPRISE: {"employeeNumber": 8}}))["id"]

    async def found(text: str) -> set[str]:
        asked = f'({text}) and (id eq "{one}" or id eq "{two}")'
        return {user["id"] for user in (await extended.ok("GET", "/Users", params={"filter": asked}))["Resources"]}

    for text, expected in (
        (f'{ENTERPRISE}:department eq "sales"', {one}),
        (f'{ENTERPRISE}:department sw "Sa"', {one}),
        (f'{ENTERPRISE}:department ne "sales"', {two}),
        (f"not ({ENTERPRISE}:department pr)", {two}),
        (f"{ENTERPRISE}:employeeNumber gt 7", {two}),
        (f"{ENTERPRISE}:employeeNumber eq 7", {one}),
        (f"{OWN}:remote eq true", {one}),
        (f'{OWN}:languages eq "en"', {one}),
        (f'{OWN}:languages ne "en"', {two}),
        (f'{OWN}:since lt "2027"', {one}),
        (f'{OWN}:badge eq "x"', set()),
        (f'{ENTERPRISE}:manager eq "x"', set()),
    ):
        assert await found(text) == expected, text
    for number in ('"7"', "9" * 400, "1e400"):
        refused = await extended.refused("GET", f"/Users?filter={ENTERPRISE}:employeeNumber eq {number}")
        assert refused == (400, "invalidFilter"), number
