"""`idp access`."""

import json
import re
import secrets
import shlex
from pathlib import Path

import pytest

from idp.directory import groups, organizations, roles
from idp.oauth.access_policies.models import DAYS, Window
from idp.oauth.access_policies.registration import InvalidAccessPolicyError
from idp.oauth.access_policies.texts import read_window, write_window
from tests.cli.conftest import Cli
from tests.conftest import MakeUser


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("mon-fri 08:00-18:00", Window(days=DAYS[:5], start="08:00", end="18:00")),
        ("sat,sun", Window(days=("sat", "sun"))),
        ("Fri-Mon  22:00-24:00", Window(days=("fri", "sat", "sun", "mon"), start="22:00", end="24:00")),
        ("mon-mon,mon", Window(days=("mon",))),
    ],
)
def test_hours_are_read(text: str, window: Window) -> None:
    assert read_window(text) == window
    assert read_window(write_window(window)) == window


@pytest.mark.parametrize(
    "text", ["", "monday", "mon 8-18", "08:00-18:00", "mon-", "mon,", "mon-fri-sat", "mon 08:00", "mon 08:00-18:00 x"]
)
def test_other_hours_are_not(text: str) -> None:
    with pytest.raises(InvalidAccessPolicyError, match="mon-fri 08:00-18:00"):
        read_window(text)


async def test_policies_are_set_shown_listed_and_removed(cli: Cli, make_user: MakeUser) -> None:
    name = secrets.token_hex(6)
    user = await make_user(email=f"{name}@example.com")
    group = await groups.create(f"Staff {name}")
    await organizations.create(f"contoso-{name}", "Contoso")
    created = json.loads(
        cli("clients", "create", "--name", "Wiki", "--redirect-uri", "https://w.example", "--json").out
    )
    client_id = created["client_id"]
    own = await roles.create(f"editor {name}", client_id)
    await roles.create(f"Editor {name}")
    values = ("--group", f"staff {name}", "--organization", f"contoso-{name}", "--role", f"editor {name}")
    shown = json.loads(cli("access", "set", client_id, *values, "--time", "sat,sun", "--json").out)
    assert (shown["groups"], shown["roles"]) == ([str(group.id)], [str(own.id)])
    for listed in (cli("access", "show", client_id).out, cli("access", "list").out):
        for text in (f"Staff {name}", f"contoso-{name}", f"editor {name}", "sat,sun 00:00-24:00"):
            assert text in listed
    answer = cli("access", "check", client_id, user.email, "--at", "2026-12-21T12:00", code=1)
    assert answer.out == "No: not_in_group, not_in_organization, without_role, outside_of_time.\n"
    cli("access", "set", client_id, "--group", str(group.id), "--network", "192.0.2.0/24", "--acr", "2")
    await groups.add_members(group.id, [user.id])
    checked = cli(
        "access", "check", client_id, str(user.id), "--address", "198.51.100.1", "--acr", "1", "--json", code=1
    )
    assert json.loads(checked.out) == {"allowed": False, "reasons": ["outside_of_network", "acr_too_low"]}
    assert cli("access", "check", client_id, user.email).out == "Yes.\n"
    assert "Everyone" in cli("access", "remove", client_id).out
    assert cli("access", "check", client_id, user.email, "--at", "2026-12-21T12:00").out == "Yes.\n"


async def test_what_is_refused(cli: Cli, make_user: MakeUser) -> None:
    created = json.loads(
        cli("clients", "create", "--name", "Wiki", "--redirect-uri", "https://w.example", "--json").out
    )
    client_id = created["client_id"]
    assert "no condition" in cli.fails("access", "set", client_id)
    for option in ("group", "organization", "role"):
        assert f"One of the {option}s does not exist" in cli.fails(
            "access", "set", client_id, f"--{option}", "none-such"
        )
    assert "mon-fri" in cli.fails("access", "set", client_id, "--time", "weekdays")
    assert "no access policy" in cli.fails("access", "show", client_id)
    assert "no access policy" in cli.fails("access", "remove", client_id)
    for command in (("set", "none-such", "--acr", "2"), ("check", "none-such", "nobody@example.com")):
        assert "There is no client" in cli.fails("access", *command)
    assert "There is no user" in cli.fails("access", "check", client_id, "nobody@example.com")


async def test_the_commands_of_the_document(cli: Cli, make_user: MakeUser) -> None:
    """docs/access-policy.md, with other names."""
    name = secrets.token_hex(6)
    user = await make_user()
    values = {
        "payroll": f"payroll-{name}", "ada@example.com": user.email, "Human resources": f"Human resources {name}",
    }  # fmt: skip
    text = (Path(__file__).parents[2] / "docs" / "access-policy.md").read_text().replace("\\\n", " ")
    commands = re.findall(r"^\$ idp (.*)$", text, re.MULTILINE)
    assert len(commands) == 11
    answers = [cli(*(values.get(word, word) for word in shlex.split(command))).out for command in commands]
    assert answers[5] == "Yes.\n"
