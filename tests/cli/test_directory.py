"""`idp groups`, `idp roles` and `idp users memberships`."""

import csv
import json
import re
import secrets
import shlex
from pathlib import Path
from typing import Any

import pytest

from idp.accounts.tables import User
from idp.directory import groups, roles
from tests.cli.conftest import Cli, OwnCli
from tests.conftest import MakeClient, MakeUser


@pytest.fixture
def mark() -> str:
    return secrets.token_hex(6)


def _json(cli: Cli, *arguments: str) -> Any:
    return json.loads(cli(*arguments, "--json").out)


def _through(found: Any) -> list[str]:
    return [each["name"] for each in found["through_groups"] + found["through_roles"]]


async def test_groups(cli: Cli, mark: str, make_user: MakeUser) -> None:
    alice, bob = await make_user(), await make_user()
    top, low = f"{mark} Top", f"{mark} Low"
    cli("groups", "create", top)
    created = _json(cli, "groups", "create", low, "--in", top.upper(), "--description", "Lower")
    assert (created["name"], created["above"], created["description"]) == (low, [top], "Lower")
    assert cli.fails("groups", "create", low.upper()).startswith("Another group has this name")
    assert "2 users added" in cli("groups", "add-member", low, alice.email.upper(), str(bob.id)).out
    assert "1 user removed" in cli("groups", "remove-member", low, bob.email).out
    nobody = cli.fails("groups", "add-member", low, "nobody@example.com")
    assert nobody == "There is no user with this email address or id."
    assert [row["email"] for row in _json(cli, "groups", "members", low)] == [alice.email]
    assert [row["name"] for row in _json(cli, "groups", "list", "--in", top, "--of", alice.email)] == [low]
    assert [row["name"] for row in _json(cli, "groups", "list", "--name", mark.upper())] == [low, top]
    assert low in cli("groups", "list", "--name", mark).out
    assert _json(cli, "groups", "show", top)["groups"] == [low]
    assert _json(cli, "groups", "show", created["id"])["members"] == 1


async def test_groups_are_moved_changed_and_deleted(cli: Cli, mark: str, alice: User) -> None:
    top, low = f"{mark} Top", f"{mark} Low"
    above = await groups.create(top)
    await groups.add_members((await groups.create(low, parent_id=above.id)).id, [alice.id])
    assert f"{low} is in no group now." in cli("groups", "move", low, "--to-top").out
    assert cli.fails("groups", "move", low, "--in", low) == "A group cannot be below itself."
    assert f"{low} is in {top} now." in cli("groups", "move", low, "--in", top).out
    cli("groups", "move", low, code=2)
    cli("groups", "update", low, code=2)
    cli("groups", "update", low, "--name", f"{mark} Lower")
    low = f"{mark} Lower"
    assert cli.fails("groups", "delete", top, "--yes").startswith("Other groups are in this group.")
    asked = cli("groups", "delete", low, input="n\n", code=1)
    assert f"{low} has 1 member, who lose what follows from it. Delete it?" in asked.out
    assert f"The group {low} with 1 member is deleted." in cli("groups", "delete", low, input="y\n").out
    assert cli.fails("groups", "show", low) == "There is no such group."


async def test_roles(cli: Cli, mark: str, make_client: MakeClient) -> None:
    client_id = (await make_client()).client_id
    cli("roles", "create", f"{mark} admin", "--description", "Everything")
    for name in ("editor", "reader"):
        cli("roles", "create", name, "--client", client_id)
    editor = ("editor", "--client", client_id)
    assert cli.fails("roles", "create", *editor).startswith("Another role has this name")
    assert cli.fails("roles", "create", "editor", "--client", "nobody") == "There is no such client."
    assert "editor contains reader now." in cli("roles", "contain", "editor", "reader", "--client", client_id).out
    admin = (f"{mark} admin", "editor", "--contained-client", client_id)
    assert "contains editor now." in cli("roles", "contain", *admin).out
    back = ("editor", f"{mark} admin", "--client", client_id, "--contained-client", "")
    assert cli.fails("roles", "contain", *back) == "A role cannot contain itself."
    assert _json(cli, "roles", "show", f"{mark} admin")["contains"] == [f"editor ({client_id})"]
    assert "no longer contains editor." in cli("roles", "release", *admin).out
    assert [row["name"] for row in _json(cli, "roles", "list", "--client", client_id)] == ["editor", "reader"]
    cli("roles", "update", *editor, "--name", "author")
    asked = cli("roles", "delete", "author", "--client", client_id, input="n\n", code=1)
    assert "author was given to 0 users, and perhaps to groups. Delete it?" in asked.out
    cli("roles", "delete", "author", "--client", client_id, "--yes")
    assert cli.fails("roles", "show", "author", "--client", client_id) == "There is no such role."


async def test_who_has_a_role(cli: Cli, mark: str, alice: User, make_client: MakeClient) -> None:
    client_id, group = (await make_client()).client_id, f"{mark} group"
    outer, inner = await roles.create(f"{mark} admin"), await roles.create("editor", client_id)
    await roles.contain(outer.id, inner.id)
    await groups.add_members((await groups.create(group)).id, [alice.id])
    editor = ("editor", "--client", client_id)
    assert "has the role editor now" in cli("groups", "give-role", group, *editor).out
    assert "is given to 1 user." in cli("roles", "give", f"{mark} admin", alice.email).out
    assert [row["email"] for row in _json(cli, "roles", "holders", f"{mark} admin")] == [alice.email]
    shown = _json(cli, "roles", "show", *editor)
    assert (shown["contains"], shown["groups"], shown["users"]) == ([], [group], 0)
    of_alice = _json(cli, "roles", "list", "--of", alice.email, "--server", "--name", mark)
    assert [row["name"] for row in of_alice] == [f"{mark} admin"]
    found = _json(cli, "users", "memberships", alice.email)
    assert [(each["name"], each["direct"]) for each in found["groups"]] == [(group, True)]
    assert {each["name"]: _through(each) for each in found["roles"]} == {
        f"{mark} admin": [], "editor": [group, f"{mark} admin"],
    }  # fmt: skip
    printed = cli("users", "memberships", alice.email).out
    assert "directly" in printed
    assert f"through {group}" in printed
    assert "no longer has the role editor." in cli("groups", "take-role", group, *editor).out
    assert "did not have the role editor." in cli("groups", "take-role", group, *editor).out
    assert "is taken from 1 user." in cli("roles", "take", f"{mark} admin", alice.email).out


async def test_an_import(cli: Cli, mark: str, tmp_path: Path, make_user: MakeUser) -> None:
    users = [await make_user() for _ in range(3)]
    file, report = tmp_path / "members.csv", tmp_path / "refused.csv"
    lines = [("user", "group"), *((user.email, f"{mark} new") for user in users), ("nobody@example.com", f"{mark} new")]
    file.write_text("".join(f"{user},{group}\n" for user, group in lines))
    refused = cli("groups", "import", str(file), code=1)
    assert "0 added, 0 existing, 4 refused; 0 groups created." in refused.out
    assert f"Line 2: {users[0].email} in {mark} new: There is no such group." in refused.err
    options = ("--create-groups", "--report", str(report))
    planned = cli("groups", "import", str(file), *options, "--dry-run", code=1)
    assert "3 could be added, 0 existing, 1 refused; 1 groups would be created." in planned.out
    done = json.loads(cli("groups", "import", str(file), *options, "--json", code=1).out)
    assert done == {"added": 3, "existing": 0, "created_groups": 1, "refused": 1, "dry_run": False}
    with report.open(newline="") as written:
        assert list(csv.reader(written)) == [
            ["line", "user", "group", "reason"],
            ["5", "nobody@example.com", f"{mark} new", "There is no such user."],
        ]
    again = cli("groups", "import", str(file), code=1)
    assert "0 added, 3 existing, 1 refused; 0 groups created." in again.out
    file.write_text("email,group\n")
    assert "There is no column “email”." in cli.fails("groups", "import", str(file))


async def test_the_commands_of_the_document(own_cli: OwnCli) -> None:
    """docs/groups-and-roles.md, and what it says that they print."""
    cli = await own_cli()
    for user in ("ada", "bob"):
        password = "correct horse battery staple\n"
        cli("users", "create", f"{user}@example.com", "--password-stdin", "--no-mail", input=password)
    cli("clients", "create", "--name", "Wiki", "--type", "service", "--id", "wiki")
    (cli.folder / "members.csv").write_text("user,group\nada@example.com,Backend\nbob@example.com,Support\n")
    text = (Path(__file__).parents[2] / "docs" / "groups-and-roles.md").read_text().replace("\\\n", " ")
    commands = re.findall(r"^\$ idp (.*)$", text, re.MULTILINE)
    outputs = [cli(*shlex.split(command)).out for command in commands]
    assert "1 added, 1 existing, 0 refused; 1 groups created." in outputs[-1]
    (said,) = re.findall(r"```\n( +Name +Client.*?)```", text, re.DOTALL)
    (printed,) = [output for command, output in zip(commands, outputs, strict=True) if "memberships" in command]
    assert [line.split() for line in said.splitlines()] == [
        line.split() for line in printed.splitlines() if line.strip() and "─" not in line
    ]
