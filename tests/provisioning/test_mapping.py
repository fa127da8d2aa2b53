"""The mapping of attributes, and how resources are compared and changed by it."""

from typing import Any

import pytest

from idp.accounts.attributes import declaration, service
from idp.accounts.attributes.models import Attribute, Type
from idp.accounts.attributes.registry import attributes
from idp.errors import ValidationError
from idp.provisioning import documents, mapping
from idp.provisioning.models import Match
from idp.scim.extensions import ENTERPRISE_SCHEMA
from tests.provisioning.conftest import deliver, target, user
from tests.provisioning.fake import FakeScim

DEPARTMENT = f"{ENTERPRISE_SCHEMA}:department"
DECLARED = {
    "department": Attribute(name="department", type=Type.STRING, label={"default": "Department"}),
    "teams": Attribute(name="teams", type=Type.STRING, multivalued=True, label={"default": "Teams"}),
}


@pytest.mark.parametrize(
    "wrong",
    [
        {}, {"displayName": "name"}, {"userName": ""}, {"userName": "password_hash"},
        {"userName": "email", "x": "email"},
        {"userName": "email", "active": "email"}, {"userName": "email", "externalId": "email"},
        {"userName": "email", "title": "attribute:unknown"}, {"userName": "email", "title": "attribute:teams"},
        {"userName": "email", "addresses": "email"}, {"userName": "email", "title": "address"},
        {"userName": "email", "urn:x": "email"}, {"userName": "email", "urn:a:b c:d": "email"},
        {"userName": "email", f"{mapping.CORE}:title": "email"}, {"userName": "email", "name.unknown": "name"},
        {"userName": "email"} | {f"urn:example:a:n{n}": "email" for n in range(60)},
        {"userName": "email", "urn:example:" + "a" * 300 + ":x": "email"},
    ],
)  # fmt: skip
def test_a_mapping_that_is_not_allowed(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        mapping.check(wrong, Match.USER_NAME, DECLARED)


def test_a_mapping_that_is_allowed() -> None:
    mapping.check(mapping.DEFAULT, Match.EMAIL, {})
    mapping.check({"userName": "id", DEPARTMENT: "attribute:teams", "addresses": "address"}, Match.USER_NAME, DECLARED)
    with pytest.raises(ValidationError, match="emails"):
        mapping.check({"userName": "email"}, Match.EMAIL, {})


@pytest.mark.parametrize(
    ("current", "wanted", "paths"),
    [
        ({"displayName": "A"}, {"displayName": "A"}, []),
        ({"DisplayName": "A"}, {"displayName": "A"}, []),
        ({"displayName": "a"}, {"displayName": "A"}, ["displayName"]),
        ({"userName": "ALICE@example.com"}, {"userName": "alice@example.com"}, []),
        ({"name": {"givenname": "A"}}, {"name.givenName": "A"}, []),
        ({"name": "A"}, {"name.givenName": "A"}, ["name.givenName"]),
        ({"title": ""}, {"title": None}, []),
        ({"title": "B"}, {"title": None}, ["title"]),
        ({"emails": [{"value": "h@x", "type": "home"}, {"value": "W@x", "type": "Work"}]}, {"emails": "w@x"}, []),
        ({"emails": [{"value": "w@x"}]}, {"emails": "w@x"}, []),
        ({"emails": [{"value": "w@x", "type": "home"}]}, {"emails": "w@x"}, ["emails"]),
        ({"emails": "w@x"}, {"emails": "w@x"}, ["emails"]),
        ({"emails": [7, None]}, {"emails": None}, []),
        ({ENTERPRISE_SCHEMA: {"department": "Sales"}}, {DEPARTMENT: "Sales"}, []),
        ({ENTERPRISE_SCHEMA: 7}, {DEPARTMENT: "Sales"}, [DEPARTMENT]),
        ({"addresses": [{"locality": "Bern", "type": "work", "x": 1}]}, {"addresses": {"locality": "Bern"}}, []),
        ({"active": "true"}, {"active": True}, ["active"]),
    ],
)  # fmt: skip
def test_resources_are_compared(current: dict[str, Any], wanted: dict[str, Any], paths: list[str]) -> None:
    assert documents.differences(current, wanted) == paths


def test_a_replacement_keeps_what_is_not_mapped() -> None:
    current = {
        "id": "1", "schemas": [mapping.CORE], "meta": {}, "groups": [], "nickName": "N", "title": "T",
        "name": {"givenName": "A", "familyName": "B"}, "phoneNumbers": [{"value": "+1", "type": "work"}],
    }  # fmt: skip
    wanted = {"title": None, "name.givenName": None, "name.middleName": "M", "phoneNumbers": None, DEPARTMENT: "Sales"}
    assert documents.replacement(current, wanted, wanted) == {
        "id": "1", "schemas": [mapping.CORE, ENTERPRISE_SCHEMA], "nickName": "N",
        "name": {"familyName": "B", "middleName": "M"}, "phoneNumbers": [], ENTERPRISE_SCHEMA: {"department": "Sales"},
    }  # fmt: skip
    assert current["title"] == "T"


def test_a_value_that_is_gone_is_removed() -> None:
    current = {"title": "T", "phoneNumbers": [{"value": "+1", "type": "work"}]}
    asked = documents.operations(current, {"title": None, "phoneNumbers": None}, ["title", "phoneNumbers"])
    assert asked["Operations"] == [{"op": "remove", "path": "title"}, {"op": "remove", "path": "phoneNumbers"}]


async def test_declared_attributes_and_their_changes(scim: FakeScim) -> None:
    for attribute in DECLARED.values():
        await declaration.declare(
            name=attribute.name, type="string", multivalued=attribute.multivalued, label=attribute.label
        )
    await attributes.load()
    person = await user("alice@example.com")
    await service.change(person.id, {"department": "Sales", "teams": ["a", "b"]})
    teams = "urn:example:params:scim:User:teams"
    chosen = {
        "userName": "email",
        "title": "attribute:department",
        DEPARTMENT: "attribute:department",
        teams: "attribute:teams",
    }
    await target(scim, mapping=chosen)
    await deliver()
    (account,) = scim.users.values()
    assert account["title"] == "Sales"
    assert account[ENTERPRISE_SCHEMA] == {"department": "Sales"}
    assert account["urn:example:params:scim:User"] == {"teams": ["a", "b"]}
    await service.change(person.id, {"department": None})
    await deliver()
    assert "title" not in account
    assert account[ENTERPRISE_SCHEMA] == {}
