"""`idp config`, and the commands of its documentation."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from idp.cli.config import config
from tests.cli.conftest import OwnCli

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "configuration-as-files.md").read_text()
SECRET = {"WIKI_CLIENT_SECRET": "w" * 40}
FILE = "version: 1\ngroups:\n  - name: Staff\n"


def test_the_published_schema_is_current() -> None:
    printed = CliRunner().invoke(config, ["schema"]).output
    assert (ROOT / "docs" / "config.schema.json").read_text() == printed, (
        "Replace it: idp config schema > docs/config.schema.json"
    )


def test_the_schema_accepts_what_is_read() -> None:
    from jsonschema_rs import validator_for

    validator = validator_for(json.loads((ROOT / "docs" / "config.schema.json").read_text()))
    everything = yaml.safe_load((ROOT / "tests" / "config" / "everything.yaml").read_text())
    assert [error.message for error in validator.iter_errors(everything)] == []
    assert not validator.is_valid({"version": 1, "clients": [{"client_id": "a", "client_name": "A", "redirect": 1}]})
    assert not validator.is_valid({"version": 2})


def test_the_documentation_names_every_section() -> None:
    sections = set(json.loads((ROOT / "docs" / "config.schema.json").read_text())["properties"]) - {"version"}
    rows = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == sections


def test_the_snippets_of_the_documentation_are_yaml() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    workflows = [yaml.safe_load(block) for block in blocks if "# .github" in block or "# job" in block]
    assert [sorted(workflow, key=str)[-1] for workflow in workflows] == ["name", "spec"]


async def test_the_commands_of_the_documentation(own_cli: OwnCli) -> None:
    cli = await own_cli()
    file = re.search(r"```yaml\n(# yaml-language-server.*?)```", PAGE, re.DOTALL)
    assert file is not None
    commands = [shlex.split(words, comments=True) for words in re.findall(r"^\$ idp (.*)$", PAGE, re.MULTILINE)]
    assert len(commands) == 7
    assert "clients" not in yaml.safe_load(cli(*commands.pop(0)).out or (cli.folder / "site.yaml").read_text())
    (cli.folder / "site.yaml").write_text(file[1])
    assert "5 to create." in cli(*commands.pop(0), code=2, **SECRET).out
    for words in commands:
        cli(*words, **SECRET)
    assert cli("config", "plan", "-f", "site.yaml", **SECRET).out == "Nothing to change.\n"


async def test_an_export_is_applied_without_change(own_cli: OwnCli) -> None:
    cli = await own_cli()
    (cli.folder / "a.yaml").write_text(FILE)
    applied = cli("config", "apply", "-f", "a.yaml", "--json", "--yes")
    assert json.loads(applied.out)["changes"][0]["key"] == "Staff"
    text = cli("config", "export").out
    assert cli("config", "plan", "-f", "-", input=text).out == "Nothing to change.\n"
    assert cli("config", "export", "--section", "groups").out == text
    assert "Is groups meant?" in cli("config", "export", "--section", "group", code=1).err


async def test_apply_asks(own_cli: OwnCli) -> None:
    cli = await own_cli()
    (cli.folder / "a.yaml").write_text(FILE)
    assert "Aborted" in cli("config", "apply", "-f", "a.yaml", input="n\n", code=1).err
    cli("config", "plan", "-f", "a.yaml", code=2)
    assert "Applied." in cli("config", "apply", "-f", "a.yaml", input="y\n").err
    cli("config", "plan", "-f", "a.yaml")


async def test_a_saved_plan_is_applied_only_as_it_was(own_cli: OwnCli) -> None:
    cli = await own_cli()
    (cli.folder / "a.yaml").write_text(FILE)
    cli("config", "plan", "-f", "a.yaml", "--verify", "-o", "plan.json", code=2)
    cli("groups", "create", "Others")
    said = cli("config", "apply", "-f", "a.yaml", "--plan", "plan.json", code=1).err
    assert "The configuration has changed since the plan was made." in said
    (cli.folder / "plan.json").write_text("{}")
    assert "is not a plan" in cli("config", "apply", "-f", "a.yaml", "--plan", "plan.json", code=1).err


@pytest.mark.parametrize("command", ["plan", "apply"])
async def test_errors_name_their_place(own_cli: OwnCli, command: str) -> None:
    cli = await own_cli()
    (cli.folder / "a.yaml").write_text("version: 1\ngroups:\n  - nam: Staff\n")
    said = cli("config", command, "-f", "a.yaml", code=1).err
    assert said == "Error: a.yaml:3:5: There is no field nam. Is name meant?\n"
    # 2 is the code of a plan with changes.
    assert "No such option" in cli("config", command, "--fil", "a.yaml", code=1).err
