"""`idp users import`."""

import csv
import json
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from idp import ids
from idp.accounts.tables import User
from tests.cli.conftest import ROOT, Cli
from tests.support.imports import people, write_json_lines
from tests.support.server import CHEAP_HASHING, clean_environment


@pytest.fixture
def domain() -> str:
    return f"{ids.random_token()[:10].lower().replace('_', 'x').replace('-', 'x')}.example.com"


async def count(domain: str) -> int:
    return await User.count().where(User.email.like(f"%@{domain}"))


def users_file(cli: Cli, domain: str, number: int = 3, *bad: str) -> Path:
    path = write_json_lines(cli.folder / "users.jsonl", people(number, domain))
    with path.open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in bad)
    return path


async def test_from_a_dry_run_to_the_second_time(cli: Cli, domain: str) -> None:
    users_file(cli, domain)
    assert cli("users", "import", "users.jsonl", "--dry-run").out == ("3 could be imported, 0 existing, 0 refused.\n")
    assert await count(domain) == 0
    result = cli("users", "import", "users.jsonl", "--json").json
    assert result == {"imported": 3, "existing": 0, "refused": 0, "dry_run": False}
    assert await count(domain) == 3
    assert cli("users", "import", "users.jsonl").out == "0 imported, 3 existing, 0 refused.\n"


async def test_refused_lines_are_shown_and_reported(cli: Cli, domain: str) -> None:
    bad = [json.dumps({"email": f"bad{number}@{domain}", "name": "\x1b[31m"}) for number in range(30)]
    users_file(cli, domain, 3, "nonsense", *bad)
    ended = cli("users", "import", "users.jsonl", "--report", "refused.csv", "--json", code=1)
    assert ended.json["imported"] == 3
    assert ended.json["refused"] == 31
    lines = ended.err.splitlines()
    assert lines[0] == "Line 4: no address: The line is not JSON."
    assert lines[1] == f"Line 5: bad0@{domain}: The name is not UTF-8, or holds control characters."
    assert len(lines) == 21
    assert lines[-1].startswith("11 more lines were refused")
    report = cli.folder / "refused.csv"
    assert report.stat().st_mode & 0o077 == 0
    with report.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 31
    assert list(rows[1].values()) == [
        "5", f"bad0@{domain}", "The name is not UTF-8, or holds control characters."
    ]  # fmt: skip

    cli("users", "import", "users.jsonl", "--report", "refused.jsonl", code=1)
    reported = [json.loads(line) for line in (cli.folder / "refused.jsonl").read_text().splitlines()]
    assert [refusal["line"] for refusal in reported] == list(range(4, 35))
    assert reported[0] == {"line": 4, "email": None, "reason": "The line is not JSON."}


async def test_files_that_cannot_be_imported(cli: Cli, domain: str) -> None:
    file = users_file(cli, domain)
    before = file.read_bytes()
    assert "overwrite" in cli.fails("users", "import", "users.jsonl", "--report", "users.jsonl")
    assert "cannot be written" in cli.fails("users", "import", "users.jsonl", "--report", "none/report.csv")
    assert file.read_bytes() == before
    file.rename(cli.folder / "users.txt")
    assert "--format" in cli.fails("users", "import", "users.txt")
    assert "no column" in cli.fails("users", "import", "users.txt", "--format", "csv")
    assert "No such file" in cli("users", "import", "nothing.csv", code=2).err
    assert await count(domain) == 0


async def test_from_a_pipe(cli: Cli, domain: str) -> None:
    ended = cli("users", "import", "-", "--format", "csv", input=f"email\none@{domain}\n")
    assert ended.out.startswith("1 imported")


def start(cli: Cli, *arguments: str, **streams: int) -> "subprocess.Popen[bytes]":
    environment = clean_environment() | {"PYTHONPATH": str(ROOT)} | CHEAP_HASHING | cli.settings
    return subprocess.Popen(
        [sys.executable, "-m", "idp", "users", "import", *arguments], cwd=cli.folder, env=environment, **streams
    )  # fmt: skip


async def test_an_import_that_was_killed_is_continued(cli: Cli, domain: str) -> None:
    lines = users_file(cli, domain, 1500).read_bytes().splitlines(keepends=True)
    process = start(cli, "-", "--format", "jsonl", stdin=subprocess.PIPE)
    assert process.stdin is not None
    # The command waits for more input in the middle of its third batch.
    process.stdin.write(b"".join(lines[:1200]))
    process.stdin.flush()
    began = time.monotonic()
    while await count(domain) < 1000:
        assert time.monotonic() - began < 30
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait(10)
    process.stdin.close()
    assert await count(domain) == 1000
    assert cli("users", "import", "users.jsonl").out == "500 imported, 1000 existing, 0 refused.\n"


async def test_on_a_terminal_there_is_a_progress_bar(cli: Cli, domain: str) -> None:
    users_file(cli, domain, 1500)
    master, slave = pty.openpty()
    process = start(cli, "users.jsonl", stdout=subprocess.PIPE, stderr=slave)
    os.close(slave)
    seen = b""
    try:
        while data := os.read(master, 4096):
            seen += data
    except OSError:  # Linux's error when the other side is closed
        pass
    os.close(master)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out == b"1500 imported, 0 existing, 0 refused.\n"
    assert "1,500 lines" in seen.decode()
    assert "━" in seen.decode()


async def test_an_export_of_all_users(cli: Cli, domain: str) -> None:
    users_file(cli, domain)
    cli("users", "import", "users.jsonl")
    assert "users are written" in cli("users", "export", "all.jsonl").err
    path = cli.folder / "all.jsonl"
    assert path.stat().st_mode & 0o077 == 0
    found = [user for line in path.read_text("utf-8").splitlines() if domain in (user := json.loads(line))["email"]]
    assert len(found) == 3
    assert not any("hash" in name for user in found for name in user)
    table = csv.DictReader(cli("users", "export", "-", "--format", "csv").out.splitlines())
    assert {row["sub"] for row in table} >= {user["sub"] for user in found}
    assert "use --format" in cli.fails("users", "export", "all.txt")
    assert "cannot be written" in cli.fails("users", "export", "nowhere/all.csv")
    text = (ROOT / "docs" / "import.md").read_text()
    for command in re.findall(r"^\$ idp (.*)$", text, re.MULTILINE):
        cli(*command.split())
    # They exist, by the same id. Other tests leave users in the database that no import would accept.
    (cli.folder / "some.jsonl").write_text("".join(f"{json.dumps(user)}\n" for user in found), "utf-8")
    again = cli("users", "import", "some.jsonl", "--dry-run", "--json").json
    assert (again["imported"], again["existing"], again["refused"]) == (0, 3, 0)
