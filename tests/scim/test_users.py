"""Users over SCIM: created, shown, replaced, changed and deleted."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from idp.accounts import users
from idp.accounts.repository.users import user_by_id
from idp.accounts.tables import Origin, User
from idp.accounts.users import create_user, insert_user
from idp.admin.roles import Role, grant
from idp.directory import groups
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.oauth.credentials import credentials_changed
from tests.scim.conftest import PATCH, USER, ScimClient, client
from tests.support.rows import session_row, user_row
from tests.support.server import Server

WHOLE = {
    "schemas": [USER],
    "externalId": "a1",
    "name": {"givenName": "Ann", "familyName": "Lee", "middleName": "B."},
    "displayName": "Ann Lee",
    "nickName": "Annie",
    "profileUrl": "https://ann.example/",
    "locale": "en-GB",
    "timezone": "Europe/London",
    "active": True,
    "phoneNumbers": [{"value": "+44 20 7946 0000", "type": "work"}, {"value": "+4912345678", "type": "mobile"}],
    "addresses": [{"type": "work", "streetAddress": "1 High St", "locality": "London", "country": "UK"}],
    "title": "Boss",
    "password": "t1meMa$heen",
    "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"department": "Sales"},
}


def _email() -> str:
    return f"{uuid4()}@example.com"


async def _row(user: dict[str, Any]) -> User:
    found = await user_by_id(UUID(user["id"]))
    assert found is not None
    return found


async def test_create_and_show(scim: ScimClient) -> None:
    email = _email()
    emails = [{"value": email.upper(), "type": "work", "primary": True}, {"value": "x@y.example", "type": "home"}]
    response = await scim("POST", "/Users", WHOLE | {"userName": email.upper(), "emails": emails})
    assert response.status_code == 201
    user = response.json()
    assert response.headers["location"] == user["meta"]["location"] == f"{scim.url}/Users/{user['id']}"
    assert response.headers["etag"] == user["meta"]["version"]
    kept = {name: value for name, value in WHOLE.items() if name in user and name != "phoneNumbers"}
    assert user == user | kept | {
        "userName": email,
        "name": WHOLE["name"] | {"formatted": "Ann Lee"},  # type: ignore[operator]
        "emails": [{"value": email, "type": "work", "primary": True}],
        "phoneNumbers": [{"value": "+442079460000", "type": "work", "primary": True}],
        "addresses": [WHOLE["addresses"][0] | {"primary": True}],  # type: ignore[index]
    }
    assert "title" not in user
    assert "password" not in user
    assert await scim.ok("GET", f"/Users/{user['id']}") == user
    row = await _row(user)
    assert (row.email, row.origin, row.password_hash, row.email_verified) == (email, Origin.SCIM, None, False)
    (event,) = await fetch("SELECT actor FROM audit_event WHERE event = 'user_created' AND user_id = $1", row.id)
    assert event["actor"] == f"scim:{scim.id}"


async def test_a_new_user_may_be_inactive(scim: ScimClient) -> None:
    user = await scim.user(active=False)
    assert user["active"] is False
    assert (await _row(user)).disabled_at is not None


async def test_what_an_administrator_disabled_stays_disabled(scim: ScimClient, provider: Server) -> None:
    """Also what SCIM had disabled before. What any SCIM client disabled, another one enables."""
    user = await scim.user(active=False)
    path, on = f"/Users/{user['id']}", {"op": "replace", "path": "active", "value": True}
    other = await client(provider, scim.http)
    assert (await other.patch(path, on)).json()["active"] is True
    assert (await scim.patch(path, on | {"value": False})).json()["active"] is False
    assert (await _row(user)).disabled_by == f"scim:{scim.id}"
    assert await users.disable_user(UUID(user["id"]), credentials_changed)
    assert not await users.disable_user(UUID(user["id"]), credentials_changed)
    assert (await _row(user)).disabled_by == users.ADMIN
    for method, body in (
        ("PATCH", {"schemas": [PATCH], "Operations": [on]}),
        ("PUT", {"userName": user["userName"], "active": True, "displayName": "Changed"}),
    ):
        refused = await scim(method, path, body)
        assert refused.status_code == 403
        assert "administrator" in refused.json()["detail"]
    row = await _row(user)
    assert (row.disabled_by, row.name) == (users.ADMIN, None)
    assert (await scim("PUT", path, {"userName": user["userName"], "displayName": "Changed"})).status_code == 200
    assert await users.enable_user(UUID(user["id"]))
    row = await _row(user)
    assert (row.disabled_at, row.disabled_by) == (None, None)
    # Disabled by nobody who is known, such as an import.
    await execute("UPDATE users SET disabled_at = now() WHERE id = $1", UUID(user["id"]))
    assert (await scim.patch(path, on)).status_code == 403


@pytest.mark.parametrize(
    ("values", "status", "scim_type"),
    [
        ({"userName": None}, 400, "invalidValue"),
        ({"userName": "no address"}, 400, "invalidValue"),
        ({"userName": ["a@b.example", "c@d.example"]}, 400, "invalidValue"),
        ({"userName": 7}, 400, "invalidValue"),
        ({"userName": "a\0@b.example"}, 400, "invalidValue"),
        ({"displayName": "x" * 201}, 400, "invalidValue"),
        ({"displayName": "x\n"}, 201, None),
        ({"name": "Ann"}, 400, "invalidValue"),
        ({"name": {"givenName": {"a": 1}}}, 400, "invalidValue"),
        ({"locale": "not a language"}, 400, "invalidValue"),
        ({"timezone": "Mars/Olympus"}, 400, "invalidValue"),
        ({"profileUrl": "javascript:alert(1)"}, 400, "invalidValue"),
        ({"phoneNumbers": [{"value": "123", "type": "work"}]}, 400, "invalidValue"),
        ({"phoneNumbers": "+442079460000"}, 201, None),
        ({"phoneNumbers": [{"value": "123", "type": "fax"}]}, 201, None),
        ({"addresses": [{"formatted": "x" * 1001}]}, 400, "invalidValue"),
        ({"addresses": None, "phoneNumbers": None, "title": None, "roles": []}, 201, None),
        ({"emails": [{"value": "other@example.com", "type": "work"}]}, 400, "invalidValue"),
        ({"emails": [{"value": "other@example.com", "primary": True}]}, 400, "invalidValue"),
        ({"emails": [{"value": "other@example.com", "type": "other"}]}, 201, None),
        ({"active": "maybe"}, 400, "invalidValue"),
        ({"active": "True"}, 201, None),
        ({"externalId": "x" * 257}, 400, "invalidValue"),
        ({"externalId": "\u202e"}, 400, "invalidValue"),
    ],
    ids=str,
)
async def test_values_of_a_new_user(
    scim: ScimClient, values: dict[str, Any], status: int, scim_type: str | None
) -> None:
    response = await scim("POST", "/Users", {"schemas": [USER], "userName": _email()} | values)
    assert response.status_code == status, response.text
    assert response.json().get("scimType") == scim_type


async def test_an_address_is_unique(scim: ScimClient) -> None:
    first, second = await scim.user(), await scim.user()
    taken = {"userName": first["userName"].upper()}
    assert await scim.refused("POST", "/Users", {"schemas": [USER]} | taken) == (409, "uniqueness")
    assert await scim.refused("PUT", f"/Users/{second['id']}", taken) == (409, "uniqueness")
    response = await scim.patch(f"/Users/{second['id']}", {"op": "replace", "value": taken})
    assert (response.status_code, response.json()["scimType"]) == (409, "uniqueness")
    assert (await _row(second)).email == second["userName"]


async def test_an_account_of_a_stranger_is_not_taken_over(scim: ScimClient) -> None:
    """Somebody made an account with this address at an upstream that does not verify it."""
    email = _email()
    stranger = user_row(email=email, origin=Origin.UPSTREAM)
    await insert_user(stranger)
    assert await scim.refused("GET", f"/Users/{stranger.id}") == (404, None)
    found = await scim.ok("GET", f'/Users?filter=userName eq "{email}"')
    assert found["totalResults"] == 0
    user = await scim.user(userName=email)
    assert user["id"] != str(stranger.id)
    voided = await user_by_id(stranger.id)
    assert voided is not None
    assert voided.disabled_at is not None
    assert voided.email != email


async def test_a_stranger_does_not_keep_an_address_from_a_renamed_user(scim: ScimClient) -> None:
    user = await scim.user()
    for method in ("PUT", "PATCH"):
        stranger = user_row(email=_email(), origin=Origin.UPSTREAM)
        await insert_user(stranger)
        renamed = {"userName": stranger.email}
        body = renamed if method == "PUT" else {"schemas": [PATCH], "Operations": [{"op": "replace", "value": renamed}]}
        assert (await scim.ok(method, f"/Users/{user['id']}", body))["userName"] == stranger.email
        voided = await user_by_id(stranger.id)
        assert voided is not None
        assert voided.disabled_at is not None


async def test_replace(scim: ScimClient) -> None:
    user = await scim.user(**{name: value for name, value in WHOLE.items() if name != "schemas"})
    new = _email()
    replaced = await scim.ok("PUT", f"/Users/{user['id']}", {"schemas": [USER], "userName": new, "id": "other"})
    assert replaced["userName"] == new
    assert replaced["id"] == user["id"]
    assert replaced["externalId"] == "a1"
    assert replaced["active"] is True
    assert not replaced.keys() & {"name", "displayName", "nickName", "phoneNumbers", "addresses", "locale"}
    await scim.patch(f"/Users/{user['id']}", {"op": "replace", "path": "active", "value": False})
    assert (await scim.ok("PUT", f"/Users/{user['id']}", {"userName": new}))["active"] is False
    assert (await scim.ok("PUT", f"/Users/{user['id']}", {"userName": new, "externalId": None, "active": True})) == (
        await scim.ok("GET", f"/Users/{user['id']}")
    )
    assert "externalId" not in await scim.ok("GET", f"/Users/{user['id']}")


async def test_what_is_not_changed_is_not_recorded(scim: ScimClient) -> None:
    user = await scim.user(**{name: value for name, value in WHOLE.items() if name != "schemas"})
    again = await scim.ok("PUT", f"/Users/{user['id']}", user)
    assert again == user
    events = await fetch("SELECT event FROM audit_event WHERE user_id = $1", UUID(user["id"]))
    assert [event["event"] for event in events] == ["user_created"]


async def test_a_new_address_ends_the_sessions(scim: ScimClient) -> None:
    user = await scim.user()
    await execute("UPDATE users SET email_verified = true WHERE id = $1", UUID(user["id"]))
    await session_row(UUID(user["id"])).save()
    new = _email()
    response = await scim.patch(
        f"/Users/{user['id']}",
        {"op": "Replace", "path": 'emails[type eq "work"].value', "value": new},
        {"op": "Replace", "path": "userName", "value": new},
    )
    assert response.json()["emails"] == [{"value": new, "type": "work", "primary": True}]
    row = await _row(user)
    assert (row.email, row.email_verified) == (new, False)
    assert not await fetch("SELECT FROM session WHERE user_id = $1 AND ended_at IS NULL", row.id)
    assert await fetch("SELECT FROM mail WHERE recipient = $1", user["userName"])
    assert not await fetch("SELECT FROM user_email WHERE email = $1", user["userName"])


async def test_who_registered_stays_visible_with_a_new_address(scim: ScimClient) -> None:
    """The new address is not verified, but it is not one that a stranger could have chosen."""
    person = user_row(email=_email(), email_verified=True, origin=Origin.REGISTRATION)
    await insert_user(person)
    response = await scim.patch(f"/Users/{person.id}", {"op": "replace", "path": "userName", "value": _email()})
    assert response.status_code == 200
    gone = await scim.patch(f"/Users/{person.id}", {"op": "replace", "path": "active", "value": False})
    assert gone.json()["active"] is False
    assert await scim.refused("POST", "/Users", {"userName": response.json()["userName"]}) == (409, "uniqueness")


async def test_deactivation_and_activation(scim: ScimClient) -> None:
    user = await scim.user()
    await session_row(UUID(user["id"])).save()
    path = f"/Users/{user['id']}"
    response = await scim.patch(path, {"op": "replace", "value": {"active": False}})
    assert response.json()["active"] is False
    assert not await fetch("SELECT FROM session WHERE user_id = $1 AND ended_at IS NULL", UUID(user["id"]))
    assert (await scim.ok("GET", path))["active"] is False
    assert (await scim.patch(path, {"op": "Replace", "path": "active", "value": "True"})).json()["active"] is True
    events = await fetch(
        "SELECT event, detail ->> 'reason' AS reason FROM audit_event"
        " WHERE user_id = $1 AND event LIKE 'user%' ORDER BY id",
        UUID(user["id"]),
    )
    assert [tuple(event) for event in events] == [
        ("user_created", None), ("user_disabled", "scim"), ("user_enabled", None),
    ]  # fmt: skip


async def test_delete(scim: ScimClient) -> None:
    user = await scim.user(externalId="gone")
    path = f"/Users/{user['id']}"
    response = await scim("DELETE", path)
    assert (response.status_code, response.content) == (204, b"")
    for method, body in (("GET", None), ("PUT", {"userName": _email()}), ("DELETE", None)):
        assert await scim.refused(method, path, body) == (404, None)
    assert (await scim.patch(path, {"op": "remove", "path": "nickName"})).status_code == 404
    assert (await scim.user(userName=user["userName"]))["id"] != user["id"]


@pytest.mark.parametrize("id", ["x", "00000000-0000-7000-8000-000000000000", "%00", "é"])
async def test_an_unknown_user(scim: ScimClient, id: str) -> None:
    assert await scim.refused("GET", f"/Users/{id}") == (404, None)


async def test_versions(scim: ScimClient) -> None:
    user = await scim.user()
    path, version = f"/Users/{user['id']}", user["meta"]["version"]
    assert (await scim("GET", path, headers={"If-None-Match": version})).status_code == 304
    change = {"schemas": [PATCH], "Operations": [{"op": "add", "path": "nickName", "value": "A"}]}
    changed = await scim("PATCH", path, change, headers={"If-Match": version})
    assert changed.headers["etag"] != version
    for method, body in (("PATCH", change), ("PUT", {"userName": user["userName"]}), ("DELETE", None)):
        assert await scim.refused(method, path, body, headers={"If-Match": version}) == (412, None)
    assert (await scim("GET", path, headers={"If-None-Match": version})).status_code == 200
    strong = changed.headers["etag"].removeprefix("W/")
    assert (await scim("DELETE", path, headers={"If-Match": f'"other", {strong}'})).status_code == 204


async def test_parts(scim: ScimClient) -> None:
    user = await scim.user(**{name: value for name, value in WHOLE.items() if name != "schemas"})
    path = f"/Users/{user['id']}"
    some = await scim.ok("GET", f"{path}?attributes=NAME.givenName,{USER}:emails.value,active,nothing")
    assert some == {
        "schemas": [USER],
        "id": user["id"],
        "name": {"givenName": "Ann"},
        "emails": [{"value": user["userName"]}],
        "active": True,
    }
    rest = await scim.ok("GET", f"{path}?excludedAttributes=name.givenName,emails,meta,id")
    assert rest["name"] == {"familyName": "Lee", "middleName": "B.", "formatted": "Ann Lee"}
    assert rest["id"] == user["id"]
    assert not rest.keys() & {"emails", "meta"}
    assert await scim.refused("GET", f"{path}?attributes=a&excludedAttributes=b") == (400, "invalidValue")
    created = await scim.ok("POST", "/Users?attributes=userName", {"userName": _email()})
    assert created.keys() == {"schemas", "id", "userName"}


async def test_an_administrator_is_not_touched(scim: ScimClient) -> None:
    admin = await create_user(_email(), None)
    await grant(admin.id, Role.AUDITOR)
    path = f"/Users/{admin.id}"
    assert (await scim.ok("GET", path))["userName"] == admin.email
    for method, body in (("PUT", {"userName": _email()}), ("DELETE", None), ("PUT", {"userName": admin.email})):
        assert await scim.refused(method, path, body) == (403, None)
    for value in (False, True):
        assert (await scim.patch(path, {"op": "replace", "path": "active", "value": value})).status_code == 403
    other = await scim.user()
    member = {"value": str(admin.id)}
    asked = {"displayName": f"{uuid4()}", "members": [member]}
    assert await scim.refused("POST", "/Groups", asked) == (403, None)
    group = await scim.group(other["id"])
    await groups.add_members(UUID(group["id"]), [admin.id])
    place = f"/Groups/{group['id']}"
    for operation in (
        {"op": "remove", "path": f'members[value eq "{admin.id}"]'},
        {"op": "remove", "path": "members", "value": [member]},
        {"op": "add", "path": "members", "value": [member]},
    ):
        assert (await scim.patch(place, operation)).status_code == 403
    assert await scim.refused("DELETE", place) == (403, None)
    # Nor by what happens to a group that this one is in.
    above = await scim.group()
    await groups.update(UUID(group["id"]), parent_id=UUID(above["id"]))
    other_group = await scim.group()
    nested, elsewhere = {"value": group["id"]}, f"/Groups/{other_group['id']}"
    removal = {"op": "remove", "path": "members", "value": [nested]}
    assert (await scim.patch(f"/Groups/{above['id']}", removal)).status_code == 403
    assert await scim.refused("DELETE", f"/Groups/{above['id']}") == (403, None)
    await groups.update(UUID(group["id"]), parent_id=None)
    assert (await scim.patch(elsewhere, {"op": "add", "path": "members", "value": [nested]})).status_code == 403
    # Whoever replaces the members means those whom SCIM manages.
    assert (await scim.patch(place, {"op": "replace", "path": "members", "value": []})).status_code == 204
    assert [each["value"] for each in (await scim.ok("GET", place))["members"]] == [str(admin.id)]
    assert not await fetch("SELECT FROM audit_event WHERE user_id = $1 AND event = 'user_disabled'", admin.id)


async def test_no_role_can_be_given(scim: ScimClient) -> None:
    user = await scim.user(roles=[{"value": "owner"}], entitlements=[{"value": "owner"}])
    await scim.patch(f"/Users/{user['id']}", {"op": "add", "path": "roles", "value": [{"value": "owner"}]})
    assert not await fetch("SELECT FROM admin_role WHERE user_id = $1", UUID(user["id"]))
    assert not await fetch("SELECT FROM user_role WHERE user_id = $1", UUID(user["id"]))


async def test_ids_of_clients_are_their_own(provider: Server, scim: ScimClient, scim_http: httpx.AsyncClient) -> None:
    other = await client(provider, scim_http)
    user = await scim.user(externalId="mine")
    group = await scim.group(externalId="mine")
    for path in (f"/Users/{user['id']}", f"/Groups/{group['id']}"):
        assert "externalId" not in await other.ok("GET", path)
        await other.patch(path, {"op": "add", "path": "externalId", "value": "yours"})
        assert (await scim.ok("GET", path))["externalId"] == "mine"
        kind = path.split("/")[1]
        assert (await other.ok("GET", f'/{kind}?filter=externalId eq "mine"'))["totalResults"] == 0
        assert (await scim.ok("GET", f'/{kind}?filter=externalId eq "mine"'))["totalResults"] == 1
        await other.patch(path, {"op": "remove", "path": "externalId"})
        assert "externalId" not in await other.ok("GET", path)
    row = await fetchrow("SELECT count(*) AS number FROM scim_user WHERE user_id = $1", UUID(user["id"]))
    assert row is not None
    assert row["number"] == 1
