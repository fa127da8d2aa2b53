"""Groups and roles in the console, from the form to the database."""

import re
import secrets

import pytest

from idp.accounts.tables import User
from idp.admin.roles import Role
from idp.directory import groups, organizations, roles
from idp.directory.repository.groups import group_by_name
from idp.directory.repository.roles import role_by_name
from idp.infra.db.engine import fetch
from tests.admin.console.conftest import Admin
from tests.conftest import MakeClient, MakeUser
from tests.support.browser import as_page


@pytest.fixture
def mark() -> str:
    return secrets.token_hex(6)


async def test_a_group_from_its_creation_to_its_end(owner: Admin, mark: str, make_user: MakeUser) -> None:
    await owner.confirm("/admin/groups/new", name=f"{mark} top")
    page = await owner.confirm("/admin/groups/new", name=f"{mark} low", description="Lower", group=f"{mark} TOP")
    low = await group_by_name(f"{mark} low")
    assert low is not None
    path = f"/admin/groups/{low.id}"
    assert page.path == path
    refused = await owner.confirm("/admin/groups/new", name=f"{mark} LOW", description="Kept")
    assert refused.status == 400
    assert "Another group has this name" in refused.text
    assert 'value="Kept"' in refused.text
    unknown = await owner.confirm("/admin/groups/new", name=f"{mark} x", group="nothing")
    assert "There is no group with this name." in unknown.text

    listed = await owner.get(f"/admin/groups?q={mark.upper()} L")
    assert f"{mark} low" in listed.text
    assert f"{mark} top</td>" in listed.text
    assert f"{mark} low" not in (await owner.get(f"/admin/groups?q={mark}&top=true")).text
    above = await owner.get(f"/admin/groups/{low.parent_id}")
    assert f'href="{path}"' in above.text

    users = [await make_user() for _ in range(3)]
    entered = "\n".join([users[0].email.upper(), str(users[1].id), users[2].email])
    page = await owner.confirm(f"{path}/add_members", users=entered)
    assert "Members (3)" in page.text
    assert all(user.email in page.text for user in users)
    for wrong in ("nobody@example.com", "x", "", "a@b@c"):
        refused = await owner.confirm(f"{path}/add_members", users=wrong)
        assert refused.status == 400, wrong
    page = await owner.confirm(f"{path}/members/{users[0].id}/remove")
    assert "Members (2)" in page.text
    assert users[0].email not in page.text

    page = await owner.confirm(f"{path}/change", name=f"{mark} lower", group="")
    assert f"<h1>{mark} lower</h1>" in page.text
    changed = await group_by_name(f"{mark} lower")
    assert changed is not None
    assert changed.parent_id is None
    asked = await owner.get(f"{path}/delete")
    assert "<dt>Members</dt><dd>2</dd>" in asked.text
    await owner.confirm(f"{path}/delete")
    assert (await owner.get(path)).status == 404


async def test_members_come_in_pages(owner: Admin, mark: str, make_user: MakeUser) -> None:
    group = await groups.create(mark)
    users = sorted([(await make_user()).id for _ in range(51)])
    await groups.add_members(group.id, users)
    page = await owner.get(f"/admin/groups/{group.id}")
    assert f"/admin/users/{users[49]}" in page.text
    assert f"/admin/users/{users[50]}" not in page.text
    (more,) = re.findall(r'href="(/admin/groups/[^"]*cursor=[^"]*)"', page.text)
    page = await owner.get(more)
    assert f"/admin/users/{users[50]}" in page.text
    assert f"/admin/users/{users[49]}" not in page.text
    assert "Members (51)" in page.text


async def test_a_change_of_a_group_that_was_changed(owner: Admin, mark: str) -> None:
    group = await groups.create(mark)
    page = await owner.get(f"/admin/groups/{group.id}/change")
    await groups.update(group.id, description="By another")
    answer = as_page(await owner.browser.submit(page, "confirm", name=f"{mark} mine"))
    assert answer.status == 400
    assert "It has been changed by another user." in answer.text
    assert (await group_by_name(mark)) is not None


async def test_a_role_from_its_creation_to_its_end(
    owner: Admin, mark: str, alice: User, make_client: MakeClient
) -> None:
    client_id = (await make_client()).client_id
    await owner.confirm("/admin/roles/new", name=f"{mark} reader")
    page = await owner.confirm(f"/admin/roles/new?client_id={client_id}", name="editor", description="Edits")
    role = await role_by_name(client_id, "editor")
    assert role is not None
    path = f"/admin/roles/{role.id}"
    assert page.path == path
    assert (await owner.confirm("/admin/roles/new", name="editor", client_id=client_id)).status == 400
    assert "There is no such client." in (await owner.confirm("/admin/roles/new", name="x", client_id="none")).text
    assert "editor" in (await owner.get(f"/admin/roles?client_id={client_id}")).text
    # It is on the page of its client.
    assert f'href="{path}"' in (await owner.get(f"/admin/clients/{client_id}")).text

    page = await owner.confirm(f"{path}/contain", role=f"{mark} READER", client_id="")
    assert f"{mark} reader" in page.text
    contained = await role_by_name(None, f"{mark} reader")
    assert contained is not None
    refused = await owner.confirm(f"/admin/roles/{contained.id}/contain", role="editor", client_id=client_id)
    assert "A role cannot contain itself." in refused.text
    assert "There is no role with this name" in (await owner.confirm(f"{path}/contain", role="x")).text
    page = await owner.confirm(f"{path}/give", users=alice.email)
    assert "Users who were given the role (1)" in page.text
    group = await groups.create(mark)
    page = await owner.confirm(f"/admin/groups/{group.id}/give_role", role="editor", client_id=client_id)
    assert f'href="{path}"' in page.text
    page = await owner.get(path)
    assert f'href="/admin/groups/{group.id}"' in page.text
    page = await owner.confirm(f"/admin/groups/{group.id}/roles/{role.id}/take")
    assert f'href="{path}"' not in page.text
    page = await owner.confirm(f"{path}/holders/{alice.id}/take")
    assert "Users who were given the role (0)" in page.text
    page = await owner.confirm(f"{path}/contained/{contained.id}/release")
    assert f"{mark} reader" not in page.text
    page = await owner.confirm(f"{path}/change", name="author")
    assert "<h1>author</h1>" in page.text
    await owner.confirm(f"{path}/delete")
    assert (await owner.get(path)).status == 404


async def test_why_a_user_has_a_role(owner: Admin, admins: dict[Role, Admin], mark: str, alice: User) -> None:
    top = await groups.create(f"{mark} top")
    low = await groups.create(f"{mark} low", parent_id=top.id)
    await groups.give_role(top.id, (await roles.create(f"{mark} editor")).id)
    path = f"/admin/users/{alice.id}"
    await owner.confirm(f"{path}/add_to_group", group=f"{mark} LOW")
    page = await owner.confirm(f"{path}/give_role", role=f"{mark} EDITOR")
    assert f"through {mark} low" in page.text
    assert f"directly and through {mark} top" in page.text
    assert f"/admin/groups/{low.id}/members/{alice.id}/remove" in page.text
    assert f"/admin/groups/{top.id}/members/{alice.id}/remove" not in page.text
    assert (await owner.confirm(f"{path}/add_to_group", group="none")).status == 400
    assert (await owner.confirm(f"{path}/give_role", role="none")).status == 400
    # Support sees it, without the links.
    page = await admins[Role.SUPPORT].get(path)
    assert f"through {mark} low" in page.text
    assert "/remove" not in page.text
    rows = await fetch("SELECT actor FROM audit_event WHERE user_id = $1 AND event = 'group_member_added'", alice.id)
    assert [row["actor"] for row in rows] == [f"user:{owner.user.id}"]


async def test_a_role_of_an_organization_is_not_here(owner: Admin, mark: str, alice: User) -> None:
    organization = await organizations.create(f"o-{mark}", "Customer")
    role = await roles.create(mark, organization_id=organization.id)
    await organizations.add_members(organization.id, [alice.id])
    await roles.give(role.id, [alice.id])
    assert mark not in (await owner.get(f"/admin/roles?q={mark}")).text.partition('id="results"')[2]
    for path in ("", "/change", "/give", "/contain", "/delete", f"/holders/{alice.id}/take"):
        assert (await owner.get(f"/admin/roles/{role.id}{path}")).status == 404
    page = await owner.get(f"/admin/users/{alice.id}")
    assert f"/admin/organizations/{organization.id}/roles/{role.id}" in page.text
    assert f"/admin/roles/{role.id}" not in page.text
