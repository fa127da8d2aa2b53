"""PATCH in the ways in which identity providers send it, and as the specification says."""

from copy import deepcopy
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp.scim.attributes import USER
from idp.scim.errors import ScimError
from idp.scim.patch import apply, read_operations
from tests.scim.conftest import PATCH, ScimClient
from tests.support.scim2 import models

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
BEFORE: dict[str, Any] = {
    "userName": "a@b.example",
    "displayName": "Ann Lee",
    "name": {"givenName": "Ann", "familyName": "Lee", "formatted": "Ann Lee"},
    "phoneNumbers": [{"value": "+442079460000", "type": "work", "primary": True}],
    "addresses": [{"locality": "London", "country": "UK", "type": "work", "primary": True}],
}


def _after(*operations: dict[str, Any], before: dict[str, Any] = BEFORE) -> dict[str, Any]:
    document = deepcopy(before)
    for operation in read_operations(USER, {"Operations": list(operations)}):
        apply(document, operation)
    return document


@pytest.mark.parametrize(
    ("operation", "changed"),
    [
        ({"op": "Replace", "path": "displayName", "value": "B"}, {"displayName": "B"}),
        ({"OP": "REPLACE", "Path": "DISPLAYNAME", "Value": "B"}, {"displayName": "B"}),
        ({"op": "replace", "path": "displayName", "value": ["B"]}, {"displayName": "B"}),
        ({"op": "Add", "path": "nickName", "value": "N"}, {"nickName": "N"}),
        ({"op": "Remove", "path": "displayName"}, {"displayName": None}),
        ({"op": "replace", "path": "displayName", "value": None}, {"displayName": None}),
        ({"op": "replace", "path": "displayName", "value": ""}, {"displayName": None}),
        ({"op": "Replace", "path": "active", "value": "False"}, {"active": False}),
        ({"op": "replace", "value": {"active": False}}, {"active": False}),
        ({"op": "replace", "path": "name.familyName", "value": "X"}, {"name": BEFORE["name"] | {"familyName": "X"}}),
        ({"op": "add", "path": "name", "value": {"familyName": "X"}}, {"name": BEFORE["name"] | {"familyName": "X"}}),
        (
            {"op": "replace", "value": {"name.familyName": "X", "displayName": "D", "title": "T"}},
            {"name": BEFORE["name"] | {"familyName": "X"}, "displayName": "D"},
        ),
        (
            {"op": "add", "value": {"urn:ietf:params:scim:schemas:core:2.0:User:nickName": "N"}},
            {"nickName": "N"},
        ),
        (
            {"op": "add", "value": {"urn:ietf:params:scim:schemas:core:2.0:User": {"nickName": "N"}}},
            {"nickName": "N"},
        ),
        ({"op": "add", "path": f"{ENTERPRISE}:department", "value": "D"}, {}),
        (
            {"op": "add", "value": {ENTERPRISE: {"department": "D"}}},
            {},
        ),
        ({"op": "Add", "path": "manager", "value": [{"$ref": "http://x", "value": "y"}]}, {}),
        ({"op": "replace", "value": {"id": "x", "schemas": ["y"], "groups": [{"value": "z"}], "meta": {}}}, {}),
        (
            {"op": "Replace", "path": 'phoneNumbers[type eq "work"].value', "value": "+1"},
            {"phoneNumbers": [{"value": "+1", "type": "work", "primary": True}]},
        ),
        (
            {"op": "Add", "path": 'phoneNumbers[type eq "mobile"].value', "value": "+1"},
            {"phoneNumbers": [*BEFORE["phoneNumbers"], {"type": "mobile", "value": "+1"}]},
        ),
        (
            {"op": "add", "path": "phoneNumbers", "value": {"value": "+1"}},
            {"phoneNumbers": [*BEFORE["phoneNumbers"], {"value": "+1"}]},
        ),
        ({"op": "add", "path": "phoneNumbers", "value": BEFORE["phoneNumbers"]}, {}),
        ({"op": "replace", "path": "phoneNumbers", "value": [{"value": "+1"}]}, {"phoneNumbers": [{"value": "+1"}]}),
        ({"op": "remove", "path": 'phoneNumbers[type eq "work"]'}, {"phoneNumbers": None}),
        ({"op": "remove", "path": 'phoneNumbers[type eq "work"].value'}, {"phoneNumbers": None}),
        ({"op": "remove", "path": 'phoneNumbers[type eq "fax"]'}, {}),
        ({"op": "remove", "path": "phoneNumbers", "value": [{"value": "+442079460000"}]}, {"phoneNumbers": None}),
        ({"op": "remove", "path": "phoneNumbers", "value": [{"value": "+1"}]}, {}),
        ({"op": "remove", "path": "phoneNumbers"}, {"phoneNumbers": None}),
        (
            {"op": "replace", "path": 'addresses[type eq "work"].locality', "value": "Bonn"},
            {"addresses": [BEFORE["addresses"][0] | {"locality": "Bonn"}]},
        ),
        (
            {"op": "replace", "path": 'addresses[type eq "work"]', "value": {"locality": "Bonn", "nothing": "x"}},
            {"addresses": [BEFORE["addresses"][0] | {"locality": "Bonn"}]},
        ),
        ({"op": "add", "path": "name.honorificPrefix", "value": "Dr."}, {}),
        ({"op": "add", "path": 'emails[type eq "work"].display', "value": "x"}, {}),
    ],
    ids=str,
)  # fmt: skip
def test_changes(operation: dict[str, Any], changed: dict[str, Any]) -> None:
    expected = {name: value for name, value in (BEFORE | changed).items() if value is not None}
    assert _after(operation) == expected


@pytest.mark.parametrize(
    ("operation", "scim_type"),
    [
        ({}, "invalidSyntax"),
        ({"op": "move", "path": "a"}, "invalidSyntax"),
        ({"op": 1}, "invalidSyntax"),
        ({"op": "remove"}, "noTarget"),
        ({"op": "remove", "path": ""}, "noTarget"),
        ({"op": "add", "path": "nickName"}, "invalidValue"),
        ({"op": "add", "path": 5, "value": "x"}, "invalidPath"),
        ({"op": "add", "path": "nothing", "value": "x"}, "invalidPath"),
        ({"op": "add", "path": "name.nothing", "value": "x"}, "invalidPath"),
        ({"op": "add", "path": "nickName.x", "value": "x"}, "invalidPath"),
        ({"op": "add", "path": 'name[givenName eq "x"]', "value": {}}, "invalidPath"),
        ({"op": "add", "path": "emails[", "value": "x"}, "invalidPath"),
        ({"op": "add", "value": "x"}, "invalidValue"),
        ({"op": "add", "path": "name", "value": ["x", "y"]}, "invalidValue"),
        ({"op": "add", "path": "nickName", "value": 7}, "invalidValue"),
        ({"op": "add", "path": "nickName", "value": "x" * 2001}, "invalidValue"),
        ({"op": "add", "path": "nickName", "value": "\0"}, "invalidValue"),
        ({"op": "replace", "path": "active", "value": "no"}, "invalidValue"),
        ({"op": "replace", "path": 'phoneNumbers[value sw "x"].value', "value": "+1"}, "noTarget"),
        ({"op": "remove", "path": "userName"}, "mutability"),
        ({"op": "remove", "path": "active"}, "mutability"),
        ({"op": "replace", "path": "userName", "value": None}, "mutability"),
        ({"op": "replace", "path": "id", "value": "x"}, "mutability"),
        ({"op": "add", "path": "groups", "value": [{"value": "x"}]}, "mutability"),
        ({"op": "replace", "path": "meta.created", "value": "x"}, "mutability"),
    ],
    ids=str,
)  # fmt: skip
def test_refused_operations(operation: dict[str, Any], scim_type: str) -> None:
    with pytest.raises(ScimError) as refused:
        _after(operation)
    assert refused.value.scim_type == scim_type


@pytest.mark.parametrize(
    "operations", [None, [], {}, "x", ["x"], [{"op": "remove", "path": "nickName"}] * 501], ids=lambda v: str(v)[:20]
)
def test_refused_messages(operations: Any) -> None:
    with pytest.raises(ScimError) as refused:
        read_operations(USER, {"Operations": operations})
    assert refused.value.scim_type == "invalidSyntax"


# As another implementation does: scim2-models, with the same tolerance.

POLICY = models.ScimPolicy(
    unknown=models.ScimPolicy.Unknown.ignore,
    remove_value_as_filter=models.ScimPolicy.RemoveValue.apply,
    unmatched_path_filter=models.ScimPolicy.UnmatchedPathFilter.create,
)
TEXT = st.sampled_from(["A", "Bob", "x"])
NUMBERS = st.sampled_from(["+1", "+2", "+442079460000"])
KINDS = st.sampled_from(["work", "home"])
PHONES = st.builds(lambda value, kind: {"value": value, "type": kind}, NUMBERS, KINDS)
WRITING = st.sampled_from(["add", "replace"])


def _operation(op: str, path: str | None, value: Any) -> dict[str, Any]:
    return {"op": op} | ({"path": path} if path else {}) | ({"value": value} if value is not None else {})


OPERATIONS = st.one_of(
    st.builds(_operation, WRITING, st.sampled_from(["displayName", "name.familyName", "nickName"]), TEXT),
    st.builds(_operation, WRITING, st.just("name"), st.fixed_dictionaries({"givenName": TEXT})),
    st.builds(
        _operation,
        st.just("remove"),
        st.sampled_from(["nickName", "name.familyName", "name", "phoneNumbers"]),
        st.none(),
    ),
    st.builds(_operation, WRITING, st.none(), st.fixed_dictionaries({"nickName": TEXT, "displayName": TEXT})),
    st.builds(_operation, st.just("add"), st.just("phoneNumbers"), st.lists(PHONES, min_size=1, max_size=2)),
    st.builds(_operation, WRITING, KINDS.map(lambda kind: f'phoneNumbers[type eq "{kind}"].value'), NUMBERS),
    st.builds(_operation, st.just("remove"), KINDS.map(lambda kind: f'phoneNumbers[type eq "{kind}"]'), st.none()),
    st.builds(_operation, st.just("replace"), st.just("phoneNumbers"), st.lists(PHONES, min_size=1, max_size=2)),
)


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document without what the two implementations represent differently: order and primary."""
    phones = [{k: v for k, v in each.items() if k != "primary"} for each in document.get("phoneNumbers", [])]
    rest = {name: value for name, value in document.items() if value and name not in ("phoneNumbers", "schemas")}
    return rest | {"phoneNumbers": sorted(map(str, (dict(sorted(each.items())) for each in phones)))}


@given(st.lists(OPERATIONS, min_size=1, max_size=4))
def test_as_another_implementation(operations: list[dict[str, Any]]) -> None:
    before = {name: value for name, value in BEFORE.items() if name != "addresses"}
    theirs = models.User.model_validate({"schemas": [USER.schema], **deepcopy(before)})
    message = models.PatchOp[models.User].model_validate(
        {"schemas": [PATCH], "Operations": operations},
        scim_ctx=models.Context.RESOURCE_PATCH_REQUEST,
        scim_policy=POLICY,
    )
    try:
        message.patch(theirs, scim_policy=POLICY)
    except models.SCIMException:
        return
    assert _plain(_after(*operations, before=before)) == _plain(theirs.model_dump())


async def test_a_change_is_whole(scim: ScimClient) -> None:
    user = await scim.user(displayName="Before")
    response = await scim.patch(
        f"/Users/{user['id']}",
        {"op": "replace", "path": "displayName", "value": "After"},
        {"op": "replace", "path": "locale", "value": "not a language"},
    )
    assert (response.status_code, response.json()["scimType"]) == (400, "invalidValue")
    assert await scim.ok("GET", f"/Users/{user['id']}") == user


async def test_values_of_other_types_do_not_replace_the_one(scim: ScimClient) -> None:
    """Only the number of the type work is stored, and a mobile number does not replace it."""
    user = await scim.user(phoneNumbers=[{"value": "+442079460000", "type": "work"}])
    path = f"/Users/{user['id']}"
    mobile = {"op": "Add", "path": 'phoneNumbers[type eq "mobile"].value', "value": "+4912345678"}
    assert (await scim.patch(path, mobile)).json()["phoneNumbers"] == user["phoneNumbers"]
    work = {"op": "Replace", "path": 'phoneNumbers[type eq "work"].value', "value": "+4930123456"}
    assert (await scim.patch(path, mobile, work)).json()["phoneNumbers"][0]["value"] == "+4930123456"
    added = {"op": "add", "path": "phoneNumbers", "value": [{"value": "+4930999999", "type": "work"}]}
    assert (await scim.patch(path, added)).json()["phoneNumbers"][0]["value"] == "+4930999999"
    gone = {"op": "remove", "path": 'phoneNumbers[type eq "work"]'}
    assert "phoneNumbers" not in (await scim.patch(path, gone)).json()


async def test_the_whole_name(scim: ScimClient) -> None:
    """displayName wins over name.formatted. Whichever of them changes is the name."""
    user = await scim.user(displayName="A B", name={"formatted": "B, A"})
    assert (user["displayName"], user["name"]) == ("A B", {"formatted": "A B"})
    path = f"/Users/{user['id']}"
    formatted = {"op": "Replace", "path": "name.formatted", "value": "C D"}
    assert (await scim.patch(path, formatted)).json()["displayName"] == "C D"
    both = [formatted, {"op": "Replace", "path": "displayName", "value": "E F"}]
    assert (await scim.patch(path, *both)).json()["name"]["formatted"] == "E F"
    assert (await scim.user(name={"formatted": "Only"}))["displayName"] == "Only"
    assert (await scim.patch(f"/Users/{uuid4()}", formatted)).status_code == 404
