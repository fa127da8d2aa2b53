"""Operations on groups, roles and the memberships of users."""

import secrets
from uuid import UUID

import httpx
import pytest

from idp.accounts.tables import User
from idp.admin.roles import Role
from idp.directory import groups, organizations, roles
from idp.directory.models import Group
from idp.infra.db.engine import fetch
from tests.admin.api.conftest import Caller, make_caller
from tests.admin.api.test_operations import problem
from tests.conftest import MakeClient, MakeUser
from tests.support.server import Server

NOWHERE = str(UUID(int=1))


@pytest.fixture
def mark() -> str:
    """Begins the names of a test."""
    return secrets.token_hex(6)


async def test_a_group_from_its_creation_to_its_end(owner: Caller, mark: str, make_user: MakeUser) -> None:
    top = (await owner("POST", "/groups", {"name": f"{mark} Top"})).json()
    created = await owner("POST", "/groups", {"name": f"{mark} Low", "description": "Lower", "parent_id": top["id"]})
    assert created.status_code == 201, created.text
    low = created.json()
    assert (low["parent_id"], low["parent"], low["path"]) == (top["id"], top["name"], [top["id"], low["id"]])
    path = f"/groups/{low['id']}"
    assert created.headers["location"].endswith(path)
    problem(await owner("POST", "/groups", {"name": f"{mark} LOW"}), 409, "wrong-state")
    problem(await owner("POST", "/groups", {"name": ""}), 422, "invalid-value")
    problem(await owner("POST", "/groups", {"name": f"{mark} x", "parent_id": NOWHERE}), 404, "not-found")

    # A name is found by its beginning, however it is written.
    found = (await owner("GET", f"/groups?q={mark.upper()} L")).json()["items"]
    assert (await owner("GET", f"/groups?parent_id={top['id']}")).json()["items"] == found == [low]

    shown = await owner("GET", path)
    problem(await owner("PATCH", path, {"name": "X"}), 428, "if-match-required")
    changed = await owner.changed("PATCH", path, {"name": f"{mark} Lower"})
    assert (changed.json()["name"], changed.json()["description"]) == (f"{mark} Lower", "Lower")
    problem(await owner("PATCH", path, {"name": "X"}, If_Match=shown.headers["etag"]), 412, "outdated")
    problem(await owner.changed("PATCH", f"/groups/{top['id']}", {"parent_id": low["id"]}), 409, "wrong-state")
    moved = (await owner.changed("PATCH", path, {"parent_id": None})).json()
    assert (moved["parent_id"], moved["path"], moved["name"]) == (None, [low["id"]], f"{mark} Lower")
    await owner.changed("PATCH", path, {"parent_id": top["id"]})

    users = [str((await make_user()).id) for _ in range(3)]
    await owner("POST", f"{path}/members", {"user_ids": users})
    problem(await owner.changed("DELETE", f"/groups/{top['id']}"), 409, "wrong-state")
    deleted = await owner.changed("DELETE", path)
    assert (deleted.status_code, deleted.json()) == (200, {"members": 3})
    problem(await owner("GET", path), 404, "not-found")


async def test_the_members_of_a_group(owner: Caller, mark: str, make_user: MakeUser) -> None:
    group = await groups.create(mark)
    path = f"/groups/{group.id}/members"
    users = sorted([await make_user() for _ in range(3)], key=lambda user: user.id)
    user_ids = [str(user.id) for user in users]
    assert (await owner("POST", path, {"user_ids": user_ids[:2]})).json() == {"added": 2}
    assert (await owner("POST", path, {"user_ids": user_ids})).json() == {"added": 1}
    first = (await owner("GET", f"{path}?limit=2")).json()
    rest = (await owner("GET", f"{path}?limit=2&cursor={first['next_cursor']}")).json()
    listed = first["items"] + rest["items"]
    assert [(each["user_id"], each["email"], each["origin"]) for each in listed] == [
        (str(user.id), user.email, "admin") for user in users
    ]
    assert rest["next_cursor"] is None
    problem(await owner("GET", f"{path}?group_id={group.id}"), 400, "invalid-query")
    problem(await owner("POST", path, {"user_ids": [user_ids[0], NOWHERE]}), 404, "not-found")
    problem(await owner("POST", path, {"user_ids": []}), 422, "invalid-body")
    problem(await owner("POST", path, {"user_ids": [NOWHERE] * 501}), 422, "invalid-body")
    for unknown in (f"/groups/{NOWHERE}/members", "/groups/none/members"):
        problem(await owner("GET", unknown), 404, "not-found")
        problem(await owner("POST", unknown, {"user_ids": user_ids}), 404, "not-found")
    assert (await owner("DELETE", f"{path}/{user_ids[0]}")).status_code == 204
    problem(await owner("DELETE", f"{path}/{user_ids[0]}"), 404, "not-found")
    rows = await fetch("SELECT event, actor FROM audit_event WHERE user_id = $1 ORDER BY id", users[0].id)
    actor = f"client:{owner.client_id}"
    changes = [(row["event"], row["actor"]) for row in rows if row["event"].startswith("group_")]
    assert changes == [("group_member_added", actor), ("group_member_removed", actor)]


async def test_members_are_added_once_for_a_key(owner: Caller, mark: str, make_user: MakeUser) -> None:
    group, user = await groups.create(mark), await make_user()
    body = {"user_ids": [str(user.id)]}
    for _ in range(2):
        answer = await owner("POST", f"/groups/{group.id}/members", body, Idempotency_Key=mark)
        assert answer.json() == {"added": 1}


async def test_a_role_from_its_creation_to_its_end(owner: Caller, mark: str, make_client: MakeClient) -> None:
    client = await make_client()
    created = await owner("POST", "/roles", {"name": f"{mark} Editor", "client_id": client.client_id})
    assert created.status_code == 201, created.text
    role = created.json()
    path = f"/roles/{role['id']}"
    assert created.headers["location"].endswith(path)
    problem(
        await owner("POST", "/roles", {"name": f"{mark} EDITOR", "client_id": client.client_id}), 409, "wrong-state"
    )
    problem(await owner("POST", "/roles", {"name": mark, "client_id": "none"}), 404, "not-found")
    assert (await owner("GET", f"/roles?client_id={client.client_id}")).json()["items"] == [role]
    assert (await owner("GET", f"/roles?q={mark.upper()}&server=false")).json()["items"] == [role]
    shown = await owner("GET", path)
    assert (await owner.changed("PATCH", path, {"description": "Edits"})).json()["description"] == "Edits"
    problem(await owner("DELETE", path, If_Match=shown.headers["etag"]), 412, "outdated")
    deleted = await owner.changed("DELETE", path)
    assert (deleted.status_code, deleted.json()) == (200, {"holders": 0})
    problem(await owner("GET", path), 404, "not-found")


async def test_roles_of_an_organization_are_not_here(owner: Caller, mark: str, alice: User) -> None:
    """They need the permission for organizations."""
    organization = await organizations.create(f"o-{mark}", "Customer")
    role = await roles.create(mark, organization_id=organization.id)
    group, other = await groups.create(mark), await roles.create(f"{mark} other")
    assert [each["id"] for each in (await owner("GET", f"/roles?q={mark}")).json()["items"]] == [str(other.id)]
    path, body = f"/roles/{role.id}", {"role_id": str(other.id)}
    users = {"user_ids": [str(alice.id)]}
    for answer in (
        await owner("GET", path), await owner("PATCH", path, {"name": "x"}, If_Match="*"),
        await owner("DELETE", path, If_Match="*"), await owner("POST", f"{path}/contained", body),
        await owner("DELETE", f"{path}/contained/{other.id}"), await owner("POST", f"{path}/holders", users),
        await owner("DELETE", f"{path}/holders/{alice.id}"), await owner("GET", f"{path}/holders"),
    ):  # fmt: skip
        problem(answer, 404, "not-found")
    inside = {"role_id": str(role.id)}
    problem(await owner("POST", f"/roles/{other.id}/contained", inside), 409, "wrong-state")
    problem(await owner("POST", f"/groups/{group.id}/roles", inside), 409, "wrong-state")


async def test_why_a_user_has_a_role(owner: Caller, mark: str, alice: User) -> None:
    top = await groups.create(f"{mark} top")
    low = await groups.create(f"{mark} low", parent_id=top.id)
    admin, editor = await roles.create(f"{mark} admin"), await roles.create(f"{mark} editor")
    assert (await owner("POST", f"/roles/{admin.id}/contained", {"role_id": str(editor.id)})).status_code == 204
    problem(await owner("POST", f"/roles/{editor.id}/contained", {"role_id": str(admin.id)}), 409, "wrong-state")
    assert (await owner("POST", f"/groups/{top.id}/roles", {"role_id": str(admin.id)})).status_code == 204
    assert (await owner("POST", f"/roles/{editor.id}/holders", {"user_ids": [str(alice.id)]})).json() == {"added": 1}
    await owner("POST", f"/groups/{low.id}/members", {"user_ids": [str(alice.id)]})

    async def ids(path: str, name: str = "id") -> list[str]:
        return [each[name] for each in (await owner("GET", path)).json()["items"]]

    assert await ids(f"/roles/{admin.id}/contained") == [str(editor.id)]
    assert await ids(f"/roles/{admin.id}/groups") == [str(top.id)]
    assert await ids(f"/groups/{top.id}/roles") == [str(admin.id)]
    assert await ids(f"/roles/{editor.id}/holders", "user_id") == [str(alice.id)]
    assert await ids(f"/users/{alice.id}/groups") == [str(low.id)]
    assert await ids(f"/users/{alice.id}/roles") == [str(editor.id)]

    def named(*found: Group) -> list[dict[str, str]]:
        return [{"id": str(each.id), "name": each.name} for each in found]

    found = (await owner("GET", f"/users/{alice.id}/memberships")).json()
    assert found == {
        "groups": [
            {"id": str(low.id), "name": low.name, "direct": True, "through_groups": []},
            {"id": str(top.id), "name": top.name, "direct": False, "through_groups": named(low)},
        ],
        "roles": [
            {
                "id": str(admin.id), "client_id": None, "organization_id": None, "name": admin.name, "direct": False,
                "through_groups": named(top), "through_roles": [],
            },
            {
                "id": str(editor.id), "client_id": None, "organization_id": None, "name": editor.name, "direct": True,
                "through_groups": [],
                "through_roles": [{"id": str(admin.id), "name": admin.name}],
            },
        ],
    }  # fmt: skip
    for path in ("groups", "roles", "memberships"):
        problem(await owner("GET", f"/users/{NOWHERE}/{path}"), 404, "not-found")
    taken = (
        f"/roles/{admin.id}/contained/{editor.id}", f"/groups/{top.id}/roles/{admin.id}",
        f"/roles/{editor.id}/holders/{alice.id}", f"/groups/{low.id}/members/{alice.id}",
    )  # fmt: skip
    for path in taken:
        assert (await owner("DELETE", path)).status_code == 204, path
        problem(await owner("DELETE", path), 404, "not-found")
    assert (await owner("GET", f"/users/{alice.id}/memberships")).json() == {"groups": [], "roles": []}


async def test_an_administrator_of_groups(server: Server, http: httpx.AsyncClient, mark: str, alice: User) -> None:
    """Changes groups and roles, and nothing else. Support looks at them."""
    admin = await make_caller(server, http, Role.GROUP_ADMIN)
    group = (await admin("POST", "/groups", {"name": mark})).json()
    added = await admin("POST", f"/groups/{group['id']}/members", {"user_ids": [str(alice.id)]})
    assert added.json() == {"added": 1}
    assert (await admin("GET", f"/users/{alice.id}")).status_code == 200
    problem(await admin("POST", f"/users/{alice.id}/disable"), 403, "forbidden")
    problem(await admin("POST", "/admins", {"user_id": str(alice.id), "role": "owner"}), 403, "forbidden")
    support = await make_caller(server, http, Role.SUPPORT)
    assert (await support("GET", f"/groups/{group['id']}/members")).json()["items"][0]["email"] == alice.email
    problem(await support("DELETE", f"/groups/{group['id']}/members/{alice.id}"), 403, "forbidden")


async def test_roles_of_organizations_need_their_permission(
    server: Server, http: httpx.AsyncClient, make_user: MakeUser, mark: str
) -> None:
    user = await make_user()
    organization = await organizations.create(f"o-{mark}", "Organization")
    await organizations.add_members(organization.id, [user.id])
    role = await roles.create("Buyer", organization_id=organization.id)
    await roles.give(role.id, [user.id])
    for role_of_caller, seen in ((Role.GROUP_ADMIN, []), (Role.OWNER, ["Buyer"])):
        caller = await make_caller(server, http, role_of_caller)
        assert (await caller("GET", f"/users/{user.id}/roles")).json()["items"] == []
        found = (await caller("GET", f"/users/{user.id}/memberships")).json()
        assert [each["name"] for each in found["roles"]] == seen
