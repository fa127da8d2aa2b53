"""Tables on a terminal of 80 columns, in a pipe, and the progress of long work."""

import os
import pty
import re
import select
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.cells import cell_len

from idp.cli import layout
from tests.cli.conftest import Cli
from tests.support.server import CHEAP_HASHING, clean_environment

ROOT = Path(__file__).parents[2]
ID = "01a23166-aa8c-7664-a825-f16ebee8975f"


def on_terminal(cli: Cli, *arguments: str, columns: int = 80, **variables: str) -> str:
    """Run a command on a terminal. Returns what it shows."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, columns))
    environment = (
        clean_environment() | {"PYTHONPATH": str(ROOT), "TERM": "xterm"} | CHEAP_HASHING | cli.settings | variables
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "idp", *arguments],
        cwd=cli.folder, env=environment, stdin=slave, stdout=slave, stderr=slave,
    )  # fmt: skip
    os.close(slave)
    shown = b"".join(iter(lambda: _read(master), b""))
    os.close(master)
    assert process.wait(60) == 0, shown
    return shown.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    """Return what was written since the last call; nothing: the terminal is closed."""
    assert select.select([terminal], [], [], 60)[0]
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux: the other end is closed
        return b""


def table(columns: Sequence[str], *rows: Sequence[str], width: int = 80) -> list[str]:
    return list(layout.table(columns, [[[cell] for cell in row] for row in rows], width))


def test_a_table_that_fits() -> None:
    lines = table(("Id", "Name"), (ID, "Ada"), (ID, "Grace Hopper"))
    assert lines[1:] == [f"{ID}  Ada", f"{ID}  Grace Hopper"]


def test_prose_is_broken_between_words() -> None:
    why = "The user is an administrator of this server and was left out, because only an owner may change one."
    lines = table(("User", "Why"), ("ada@example.com", why))[1:]
    assert len(lines) > 1
    assert all(cell_len(line) <= 80 for line in lines)
    assert " ".join(line[17:] for line in lines) == why


def test_what_does_not_fit_is_a_record_for_each_row() -> None:
    row = ("a.long.address.of.a.person@example.com", ID, "2026-12-01 11:57:02 UTC")
    lines = table(("Email", "Id", "Created"), row, row)
    assert [line.split("\x1b[0m")[-1] for line in lines] == [*row, "", *row]


def test_an_empty_column_makes_no_record_necessary() -> None:
    lines = table(("Id", "Created", "Disabled", "Retired"), (ID, "2026-12-01 11:57:02 UTC", "", ""), width=62)
    assert lines[1:] == [f"{ID}  2026-12-01 11:57:02 UTC"]


@pytest.mark.parametrize("width", [1, 20, 40, 80, 200])
def test_no_word_is_ever_broken(width: int) -> None:
    row = (ID, "ada@example.com", "one or two words", "2026-12-01 11:57:02 UTC", "https://app.example.com/a/long/path")
    shown = "\n".join(table(("Id", "Email", "Note", "Time", "URL"), row, width=width))
    assert all(word in shown for cell in row for word in cell.split())
    assert row[3] in shown


def test_wide_characters_keep_the_columns() -> None:
    lines = table(("Name", "Id"), ("山田太郎", ID), ("Ada", ID))
    assert {cell_len(line.split(ID)[0]) for line in lines[1:]} == {10}


def test_ids_and_addresses_can_be_copied_at_80_columns(cli: Cli) -> None:
    email = "somewhat.longer.address@subdomain.example.com"
    created = cli("users", "create", email, "--name", "Ada Lovelace", "--generate", "--no-mail", "--json").json
    for arguments in (("users", "list", "--search", email), ("audit", "list", "--user", email)):
        shown = on_terminal(cli, *arguments)
        assert email in shown
        assert (created["id"] in shown) == (arguments[0] == "users")
        assert "user_created" in shown or arguments[0] == "users"


def test_a_pipe_gets_plain_lines(cli: Cli) -> None:
    email = "piped@example.com"
    created = cli("users", "create", email, "--name", "P", "--generate", "--no-mail", "--json").json
    head, line = cli("users", "list", "--search", email).out.splitlines()
    assert head == "Email\tName\tId\tCreated\tDisabled"
    assert line.split("\t")[:3] == [email, "P", created["id"]]
    assert "\x1b" not in head + line


def test_no_color(cli: Cli) -> None:
    """Of a table and of a record."""
    cli("users", "create", "plain@example.com", "--name", "P", "--generate", "--no-mail")
    for arguments in (("users", "list", "--search", "plain@"), ("users", "show", "plain@example.com")):
        shown = on_terminal(cli, *arguments)
        assert "\x1b[" in shown
        assert on_terminal(cli, *arguments, NO_COLOR="1") == re.sub("\x1b\\[[0-9;]*m", "", shown)


def test_progress_is_shown_on_a_terminal_only(cli: Cli, tmp_path: Path) -> None:
    shown = on_terminal(cli, "users", "export", str(tmp_path / "users.csv"))
    assert "users" in shown
    assert "\x1b[" in shown
    piped = cli("users", "export", str(tmp_path / "again.csv"))
    assert (piped.out, "\x1b" in piped.err) == ("", False)


def test_a_compromised_user_is_named_by_the_address(cli: Cli) -> None:
    email = "stolen@example.com"
    cli("users", "create", email, "--name", "S", "--generate", "--no-mail")
    assert cli("contain", "user", email, "--yes", "--json").json["ended"] is not None
    (event,) = cli("audit", "list", "--user", email, "--event", "user_contained", "--json").json
    assert event["outcome"] == "success"
    assert "no user" in cli.fails("contain", "user", "nobody-here@example.com", "--yes")
