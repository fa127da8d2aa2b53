"""Runs the command in a separate process."""

import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MASTER_KEY
from tests.support import prefork
from tests.support.postgres import Cluster
from tests.support.server import CHEAP_HASHING, clean_environment

ROOT = Path(__file__).parents[2]


@dataclass
class Cli:
    """The `idp` command with its settings, in a separate folder."""

    folder: Path
    settings: dict[str, str]
    #: Whether the command is forked from a process that has imported it. Otherwise Python starts for each command.
    forked: bool = True

    def __call__(self, *arguments: str, input: str = "", code: int = 0, **settings: str) -> prefork.Ended:
        """Run a command, and check the code that it ends with."""
        given = self.settings | settings
        environment = clean_environment() | {"PYTHONPATH": str(ROOT)} | CHEAP_HASHING | given
        run = prefork.run if self.forked and prefork.can_run(given) else _run
        ended = run(arguments, self.folder, environment, input)
        assert ended.code == code, ended.out + ended.err
        assert "Traceback" not in ended.err or "--debug" in arguments
        return ended

    def fails(self, *arguments: str, **options: Any) -> str:
        """Run a command that must fail, with one plain sentence. Returns it."""
        result = self(*arguments, code=1, **options)
        assert result.out == ""
        (line,) = result.err.strip().splitlines()
        assert line.startswith("Error: ")
        assert line.endswith(".")
        return line.removeprefix("Error: ")


def _run(arguments: Sequence[str], folder: Path, environment: Mapping[str, str], input: str) -> prefork.Ended:
    """Run a command by Python."""
    ended = subprocess.run(
        [sys.executable, "-m", "idp", *arguments],
        cwd=folder,
        env=environment,
        input=input,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return prefork.Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture
def python(tmp_path: Path) -> Cli:
    """The command as Python runs it, without any setting."""
    return Cli(tmp_path, {}, forked=False)


@pytest.fixture
def bare(tmp_path: Path) -> Cli:
    """The command without any setting."""
    return Cli(tmp_path, {})


@pytest.fixture
def cli(tmp_path: Path, db: str) -> Cli:
    """The command on the database that most tests share."""
    return Cli(tmp_path, {"IDP_DATABASE_URL": db, "IDP_MASTER_KEY": MASTER_KEY})


OwnCli = Callable[..., Awaitable[Cli]]


@pytest.fixture
def own_cli(tmp_path: Path, cluster: Cluster, template: str) -> OwnCli:
    """Makes the command on a database for one test alone."""

    async def make(*, migrated: bool = True) -> Cli:
        dsn = await cluster.create_database(template if migrated else None)
        return Cli(tmp_path, {"IDP_DATABASE_URL": dsn, "IDP_MASTER_KEY": MASTER_KEY})

    return make
