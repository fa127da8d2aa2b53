"""What Entra ID and Okta send, in the order in which they send it, and what they need to see.

Written by hand after their public documentation: Microsoft's tutorial on developing a SCIM endpoint, with its notes on
protocol compliance, and Okta's SCIM 2.0 protocol reference.
"""

from typing import Any
from urllib.parse import quote
from uuid import uuid4

from tests.scim.conftest import ScimClient

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"


class Entra:
    """The provisioning service of Entra ID."""

    def __init__(self, scim: ScimClient) -> None:
        self.scim = scim

    async def find(self, kind: str, filter: str, *, without: str = "") -> list[dict[str, Any]]:
        more = f"excludedAttributes={without}&" if without else ""
        asked = filter.replace(" ", "+").replace('"', "%22")
        found = await self.scim.ok("GET", f"/{kind}?{more}filter={asked}")
        assert found["schemas"] == [LIST]
        assert found["totalResults"] == len(found["Resources"])
        resources: list[dict[str, Any]] = found["Resources"]
        return resources

    async def patch(self, path: str, *operations: dict[str, Any]) -> Any:
        body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": list(operations)}
        response = await self.scim("PATCH", path, body)
        assert response.status_code in (200, 204), response.text
        return response.json() if response.content else None


async def test_entra_tests_the_connection(scim: ScimClient) -> None:
    """It asks for a user with a random identifier, and expects an empty list."""
    assert await Entra(scim).find("Users", f'userName eq "{uuid4()}"') == []


async def test_entra_provisions_a_user(scim: ScimClient) -> None:
    entra, email, external = Entra(scim), f"Test_{uuid4()}@testuser.com", str(uuid4())
    assert await entra.find("Users", f'userName eq "{email}"') == []
    created = await scim.ok(
        "POST",
        "/Users",
        {
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE],
            "externalId": external,
            "userName": email,
            "active": True,
            "addresses": None,
            "displayName": "Joy Young",
            "emails": [{"type": "work", "value": email, "primary": True}],
            "meta": {"resourceType": "User"},
            "name": {"formatted": "givenName familyName", "familyName": "familyName", "givenName": "givenName"},
            "phoneNumbers": None,
            "preferredLanguage": None,
            "title": None,
            "department": None,
            "manager": None,
            "roles": [],
            ENTERPRISE: {"employeeNumber": "701984", "department": "Sales"},
        },
    )
    path = f"/Users/{created['id']}"
    assert created["externalId"] == external
    for matching in (
        f'userName eq "{email}"',
        f'externalId eq "{external}"',
        f'emails[type eq "work"].value eq "{email}"',
        f'id eq "{created["id"]}" and active eq true',
    ):
        (found,) = await entra.find("Users", matching)
        assert found == created
    assert await scim.ok("GET", path) == created

    # Single and multi-valued attributes, as sent without and with the flag aadOptscim062020.
    new = f"updated{uuid4()}@testuser.com"
    changed = await entra.patch(
        path,
        {"op": "Replace", "path": 'emails[type eq "work"].value', "value": new},
        {"op": "Replace", "path": "name.familyName", "value": "updatedFamilyName"},
        {"op": "Replace", "path": "userName", "value": new},
        {"op": "Add", "path": 'phoneNumbers[type eq "work"].value', "value": "+44 20 7946 0000"},
        {"op": "Add", "path": 'phoneNumbers[type eq "fax"].value', "value": "55555555555"},
        {"op": "Add", "path": 'addresses[type eq "work"].postalCode', "value": "98101"},
        {"op": "Replace", "path": f"{ENTERPRISE}:employeeNumber", "value": "Eqpj"},
        {"op": "Add", "path": "title", "value": "Engineer"},
        {"op": "Replace", "path": "preferredLanguage", "value": "en-US"},
    )
    assert changed["userName"] == new
    assert changed["name"]["familyName"] == "updatedFamilyName"
    assert changed["phoneNumbers"] == [{"value": "+442079460000", "type": "work", "primary": True}]
    assert changed["addresses"] == [{"postalCode": "98101", "type": "work", "primary": True}]
    changed = await entra.patch(
        path,
        {"op": "replace", "path": 'addresses[type eq "work"].postalCode', "value": "10115"},
        {
            "op": "replace",
            "value": {
                "displayName": "Bjfe", "name.givenName": "Kkom", "name.familyName": "Unua",
                f"{ENTERPRISE}:employeeNumber": "Aklq",
            },
        },
    )  # fmt: skip
    assert changed["displayName"] == "Bjfe"
    assert changed["name"]["givenName"] == "Kkom"
    assert changed["addresses"][0]["postalCode"] == "10115"

    # Disabled, restored, disabled again; and deleted after the retention at Entra ID.
    assert (await entra.patch(path, {"op": "Replace", "path": "active", "value": "False"}))["active"] is False
    (found,) = await entra.find("Users", f'userName eq "{new}"')
    assert found["active"] is False
    assert (await entra.patch(path, {"op": "Replace", "path": "active", "value": "True"}))["active"] is True
    assert (await entra.patch(path, {"op": "replace", "path": "active", "value": False}))["active"] is False
    assert (await scim("DELETE", path)).status_code == 204
    assert await entra.find("Users", f'userName eq "{new}"') == []
    assert await scim.refused("GET", path) == (404, None)


async def test_entra_says_what_is_wrong_with_a_user_name_that_is_no_address(scim: ScimClient) -> None:
    """The address of the mail differs from the userName: the operator has to map userName to the address."""
    body = {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": f"upn{uuid4()}@corp.onmicrosoft.com",
        "emails": [{"primary": True, "type": "work", "value": "joy@corp.example"}],
    }
    response = await scim("POST", "/Users", body)
    assert (response.status_code, response.json()["scimType"]) == (400, "invalidValue")
    assert "map userName to the address" in response.json()["detail"]


async def test_entra_provisions_a_group(scim: ScimClient) -> None:
    entra, name, external = Entra(scim), f"Group {uuid4()}", str(uuid4())
    people = [(await scim.user())["id"] for _ in range(3)]
    assert await entra.find("Groups", f'displayName eq "{name}"', without="members") == []
    created = await scim.ok(
        "POST",
        "/Groups",
        {
            "schemas": [
                "urn:ietf:params:scim:schemas:core:2.0:Group",
                "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group",
            ],
            "externalId": external,
            "displayName": name,
            "meta": {"resourceType": "Group"},
        },
    )
    assert created["members"] == []
    path = f"/Groups/{created['id']}"
    (found,) = await entra.find("Groups", f'displayName eq "{name}"', without="members")
    assert found == {key: value for key, value in created.items() if key != "members"}
    assert await scim.ok("GET", f"{path}?excludedAttributes=members") == found
    members = [{"$ref": None, "value": each} for each in people]
    assert await entra.patch(path, {"op": "Add", "path": "members", "value": members}) is None
    asked = f'id eq "{created["id"]}" and members eq "{people[0]}"'
    assert [each["id"] for each in await entra.find("Groups", asked, without="members")] == [created["id"]]
    await entra.patch(path, {"op": "Remove", "path": "members", "value": members[:1]})
    await entra.patch(path, {"op": "remove", "path": f'members[value eq "{people[1]}"]'})
    assert await entra.find("Groups", asked, without="members") == []
    assert [each["value"] for each in (await scim.ok("GET", path))["members"]] == people[2:]
    await entra.patch(path, {"op": "Replace", "path": "displayName", "value": f"{name} updated"})
    assert (await scim.ok("GET", path))["displayName"] == f"{name} updated"
    assert (await scim("DELETE", path)).status_code == 204


async def test_entra_discovers_the_schemas(scim: ScimClient) -> None:
    found = await scim.ok("GET", "/Schemas")
    assert found["schemas"] == [LIST]
    assert found["totalResults"] == len(found["Resources"]) == 2
    for schema in found["Resources"]:
        assert await scim.ok("GET", f"/Schemas/{schema['id']}") == schema
        for attribute in schema["attributes"]:
            assert attribute.keys() >= {"name", "type", "multiValued", "required", "mutability", "returned"}
            assert None not in attribute.values()


async def test_okta_provisions_a_user(scim: ScimClient) -> None:
    email, external = f"test.user{uuid4()}@okta.local", "00ujl29u0le5T6Aj10h7"
    asked = "/Users?filter=" + quote(f'userName eq "{email}"', safe="") + "&startIndex=1&count=100"
    assert await scim.ok("GET", asked) == {
        "schemas": [LIST], "totalResults": 0, "startIndex": 1, "itemsPerPage": 0, "Resources": [],
    }  # fmt: skip
    body = {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": email,
        "name": {"givenName": "Test", "familyName": "User"},
        "emails": [{"primary": True, "value": email, "type": "work"}],
        "displayName": "Test User",
        "locale": "en-US",
        "externalId": external,
        "groups": [],
        "password": "1mz050nq",
        "active": True,
    }
    created = await scim.ok("POST", "/Users", body)
    path = f"/Users/{created['id']}"
    assert await scim.refused("POST", "/Users", body) == (409, "uniqueness")
    assert (await scim.ok("GET", asked))["Resources"] == [created]

    # Okta reads the user, changes the document, and replaces the user by it.
    read = await scim.ok("GET", path)
    read["name"]["middleName"] = "Excited"
    read["emails"][0]["display"] = email
    replaced = await scim.ok("PUT", path, read)
    assert replaced["name"]["middleName"] == "Excited"
    assert replaced["externalId"] == external
    operation = {"op": "replace", "value": {"active": False}}
    assert (await scim.patch(path, operation)).json()["active"] is False
    assert (await scim.ok("PUT", path, read | {"active": True}))["active"] is True
    assert (await scim.ok("PUT", path, read | {"active": False}))["active"] is False


async def test_okta_imports_users_page_by_page(scim: ScimClient) -> None:
    created = {(await scim.user())["id"] for _ in range(3)}
    seen: set[str] = set()
    start, total = 1, 1
    while start <= total:
        page = await scim.ok("GET", f"/Users?startIndex={start}&count=2")
        assert all(isinstance(page[name], int) for name in ("itemsPerPage", "startIndex", "totalResults"))
        seen |= {user["id"] for user in page["Resources"]}
        start, total = start + 2, page["totalResults"]
    assert created <= seen


async def test_okta_pushes_a_group(scim: ScimClient) -> None:
    one, two = [(await scim.user())["id"] for _ in range(2)]
    name = f"Test SCIMv2 {uuid4()}"
    body = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": name, "members": []}
    group = await scim.ok("POST", "/Groups", body)
    path = f"/Groups/{group['id']}"
    assert (await scim.ok("GET", "/Groups?startIndex=1&count=100"))["startIndex"] == 1
    renamed = {"op": "replace", "value": {"id": group["id"], "displayName": f"{name} 0"}}
    assert (await scim.patch(path, renamed)).status_code == 204
    shown = [{"value": one, "display": "test.user@okta.local"}]
    assert (await scim.patch(path, {"op": "add", "path": "members", "value": shown})).is_success
    changes = [
        {"op": "remove", "path": f'members[value eq "{one}"]'},
        {"op": "add", "path": "members", "value": [{"value": two, "display": "test.user@okta.local"}]},
    ]
    assert (await scim.patch(path, *changes)).is_success
    assert [each["value"] for each in (await scim.ok("GET", path))["members"]] == [two]
    whole = [{"value": one, "display": "a"}, {"value": two, "display": "b"}]
    assert (await scim.patch(path, {"op": "replace", "path": "members", "value": whole})).is_success
    assert {each["value"] for each in (await scim.ok("GET", path))["members"]} == {one, two}
    assert (await scim.ok("PUT", path, body | {"id": group["id"], "members": shown}))["displayName"] == name
    assert [each["value"] for each in (await scim.ok("GET", path))["members"]] == [one]
    assert (await scim("DELETE", path)).status_code == 204
