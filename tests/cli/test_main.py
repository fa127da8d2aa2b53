"""The command as a whole: fast help, and errors in one sentence."""

import subprocess
import sys

import asyncpg
import pytest

from idp.cli.main import COMMANDS, sentence
from idp.errors import InvalidScopeError
from tests.cli.conftest import ROOT, Cli

HEAVY = {"litestar", "piccolo", "asyncpg", "pydantic", "structlog", "cryptography", "jinja2"}


def test_help_names_every_command(python: Cli) -> None:
    # A line that is too long for the table is wrapped.
    out = " ".join(python("--help").out.replace("│", " ").split())
    for name, (line, _) in COMMANDS.items():
        assert name in out
        assert line in out
    assert python("--version").out.startswith("idp, version ")


@pytest.mark.parametrize("name", COMMANDS)
def test_python_runs_every_command(python: Cli, name: str) -> None:
    assert python(name, "--help").out.strip().startswith(f"Usage: idp {name} ")


@pytest.mark.parametrize("arguments", [[], ["clients"], ["users", "create"], ["keys"], ["db"], ["resources"]])
def test_help_imports_nothing_that_takes_long(arguments: list[str]) -> None:
    code = (
        "import sys; from idp.cli.main import cli\n"
        f"cli([*{arguments!r}, '--help'], standalone_mode=False)\n"
        f"print('heavy:', *({HEAVY!r} & sys.modules.keys()))"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1].strip() == "heavy:"


def test_the_help_of_every_command_equals_the_list() -> None:
    """The lines of help that stand beside the names, so that listing them imports nothing."""
    for name, (line, place) in COMMANDS.items():
        module, _, attribute = place.partition(":")
        code = f"from {module} import {attribute} as c; print(c.name, '|', c.get_short_help_str(200))"
        ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        found, _, help_line = ended.stdout.strip().partition(" | ")
        assert found == name
        assert help_line.startswith(line.split(",")[0].rstrip(".").partition(" (")[0])


def test_no_colours_without_a_terminal(python: Cli) -> None:
    assert "\x1b" not in python("--help").out
    assert "\x1b" not in python("settings").out


def test_a_command_that_does_not_exist(python: Cli) -> None:
    result = python("user", code=2)
    assert "No such command" in result.err


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"IDP_DATABSE_URL": "x"}, "There is no setting IDP_DATABSE_URL. Did you mean IDP_DATABASE_URL?"),
        ({"IDP_DATABASE_URL": "postgresql://a:secret@127.0.0.1:1/x"}, "PostgreSQL cannot be reached: "),
        ({"IDP_DATABASE_URL": "mysql://127.0.0.1/x"}, "PostgreSQL cannot be reached: "),
        ({"IDP_DATABASE_URL_FILE": "/nowhere/url"}, "IDP_DATABASE_URL_FILE names a file that cannot be read: "),
        ({}, "There is no database yet. "),
    ],
    ids=str,
)
def test_invalid_settings(python: Cli, settings: dict[str, str], says: str) -> None:
    result = python("users", "list", code=1, **settings)
    assert result.out == ""
    assert result.err.startswith(f"Error: {says}")
    assert len(result.err.splitlines()) == 1
    assert "secret" not in result.err
    assert not settings or "IDP_DATABASE_URL" in result.err
    assert list(python.folder.iterdir()) == []


def test_debug_shows_where(python: Cli) -> None:
    assert "NoDatabase" in python("--debug", "users", "list", code=1).err


def test_an_unexpected_error_is_one_sentence() -> None:
    assert sentence(ValueError("one\ntwo")).startswith("Unexpected error (ValueError: one). ")
    for error, words in (
        (asyncpg.InvalidSQLStatementNameError("no such statement"), "IDP_DATABASE_PREPARED_STATEMENTS=false"),
        (asyncpg.DuplicatePreparedStatementError("there already"), "IDP_DATABASE_PREPARED_STATEMENTS=false"),
        (asyncpg.ReadOnlySQLTransactionError("no"), "accepts no writes"),
        (asyncpg.DiskFullError("no"), "lacks disk"),
    ):
        assert words in sentence(error)
        assert "unexpected" not in sentence(error)
    assert sentence(InvalidScopeError("The scope is too long.")) == "The scope is too long."
