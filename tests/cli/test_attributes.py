"""`idp attributes`, and the attributes of users at `idp users`."""

import json
import re
import secrets
import shlex
from pathlib import Path
from typing import get_args

from idp.accounts.attributes.models import Given, Registration, Type
from idp.cli import attributes
from tests.cli.conftest import Cli
from tests.conftest import MakeUser
from tests.support.attributes import held_up, values_changed


def test_the_choices_are_those_of_the_model() -> None:
    """They are repeated, so that `--help` stays fast."""
    assert tuple(Type) == tuple(attributes._TYPES.choices)
    assert get_args(Registration) == tuple(attributes._REGISTRATION.choices)
    assert (*get_args(Given), "nobody") == tuple(attributes._WHO.choices)


async def test_attributes_are_declared_changed_shown_and_deleted(cli: Cli, make_user: MakeUser) -> None:
    name = f"a_{secrets.token_hex(6)}"
    assert "--label" in cli("attributes", "create", name, code=2).err
    assert "choices" in cli.fails("attributes", "create", name, "--label", "X", "--type", "choice")
    options = ("--label", "Level", "--translation", "de", "Stufe", "--maximum", "9", "--searchable", "--scope", name)
    created = json.loads(cli("attributes", "create", name, "--type", "integer", *options, "--json").out)
    assert (created["label"], created["maximum"]) == ({"default": "Level", "de": "Stufe"}, 9)
    assert (created["claim"], created["editable_by"]) == (name, ["support"])
    who = ("--editable-by", "nobody", "--visible-to", "support", "--scope", "", "--translation", "fr", "Niveau")
    assert "nobody" in cli("attributes", "update", name, *who, "--translation", "de", "").out
    shown = json.loads(cli("attributes", "show", name, "--json").out)
    assert (shown["editable_by"], shown["visible_to"], shown["claim"]) == ([], ["support"], None)
    assert shown["label"] == {"default": "Level", "fr": "Niveau"}
    assert "at least one option" in cli("attributes", "update", name, code=2).err
    assert name in cli("attributes", "list").out
    assert name in {one["name"] for one in json.loads(cli("attributes", "list", "--json").out)}

    user = await make_user()
    assert "is changed" in cli("users", "set-attribute", user.email, name, "7").out
    assert "same as before" in cli("users", "set-attribute", str(user.id), name, " 7 ").out
    assert json.loads(cli("users", "show-attributes", user.email, "--json").out) == {name: 7}
    assert "at most" in cli.fails("users", "set-attribute", user.email, name, "10")
    assert "one value" in cli.fails("users", "set-attribute", user.email, name, "1", "2")
    assert "no attribute" in cli.fails("users", "set-attribute", user.email, "undeclared", "1")

    refused = cli("attributes", "delete", name, input="n\n", code=1)
    assert "1 values go with it" in refused.out
    assert "with 1 values" in cli("attributes", "delete", name, "--yes").out
    assert "There is no attribute" in cli.fails("attributes", "delete", name, "--yes")
    assert cli("users", "show-attributes", user.email, "--json").out.strip() == "{}"


async def test_limits_of_each_type(cli: Cli) -> None:
    dates = ("--type", "date", "--minimum", "1990-01-01")
    for kind, limits, expected in (
        ("date", ("--minimum", "1990-01-01"), "1990-01-01"),
        ("number", ("--minimum", "-0.5"), -0.5),
    ):
        name = f"a_{secrets.token_hex(6)}"
        created = cli("attributes", "create", name, "--label", "X", "--type", kind, *limits, "--json")
        assert json.loads(created.out)["minimum"] == expected
        cli("attributes", "delete", name, "--yes")
    assert "values of the attribute" in cli.fails("attributes", "create", "x", "--label", "X", *dates[:3], "soon")


async def test_the_commands_of_the_document(cli: Cli, make_user: MakeUser) -> None:
    """docs/attributes.md, with other names."""
    text = (Path(__file__).parents[2] / "docs" / "attributes.md").read_text().replace("\\\n", " ")
    commands = re.findall(r"^\$ idp (.*)$", text, re.MULTILINE)
    declared = ("department", "employee_number", "languages", "iban", "cost_centre", "desk")
    names = {name: f"{name[:3]}_{secrets.token_hex(6)}" for name in declared}
    names |= {name: secrets.token_hex(8) for name in ("payroll", "travel")}
    values = {"alice@example.com": (await make_user()).email} | names
    for command in commands:
        cli(*(values.get(word, word) for word in shlex.split(command)))
    assert len(commands) == 21
    assert {one["name"] for one in json.loads(cli("attributes", "list", "--json").out)}.isdisjoint(names.values())


async def test_values_are_changed_in_the_background(cli: Cli, make_user: MakeUser) -> None:
    name = f"a_{secrets.token_hex(6)}"
    cli("attributes", "create", name, "--label", "X")
    cli("users", "set-attribute", (await make_user()).email, name, "x")
    async with held_up(name):
        cli("attributes", "update", name, "--searchable", "--no-wait")
        assert "not yet" in cli("attributes", "list").out
        jobs = {one["attribute"]: one for one in json.loads(cli("attributes", "jobs", "--json").out)}
        assert (jobs[name]["kind"], jobs[name]["done"], jobs[name]["total"]) == ("index", 0, 1)
        assert name in cli("attributes", "jobs").out
        cli("attributes", "delete", name, "--yes", "--no-wait")
        assert "still being deleted" in cli.fails("attributes", "create", name, "--label", "X")
    await values_changed(name)
    # By default the command waits, and does the work itself where no server runs.
    cli("attributes", "create", name, "--label", "X")
    cli("attributes", "update", name, "--searchable")
    cli("attributes", "delete", name, "--yes")
    assert name not in cli("attributes", "jobs").out
