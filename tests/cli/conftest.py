"""Runs the real command in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MASTER_KEY
from tests.support.postgres import Cluster
from tests.support.server import CHEAP_HASHING, clean_environment

ROOT = Path(__file__).parents[2]


@dataclass
class Result:
    """What a command printed, and the code that it ended with."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Cli:
    """The `idp` command with its settings, in a folder of its own."""

    folder: Path
    settings: dict[str, str]

    def __call__(self, *arguments: str, input: str = "", code: int = 0, **settings: str) -> Result:
        """Run a command, and check the code that it ends with."""
        ended = subprocess.run(
            [sys.executable, "-m", "idp", *arguments],
            cwd=self.folder,
            env=clean_environment() | {"PYTHONPATH": str(ROOT)} | CHEAP_HASHING | self.settings | settings,
            input=input,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == code, ended.stdout + ended.stderr
        assert "Traceback" not in ended.stderr or "--debug" in arguments
        return Result(ended.returncode, ended.stdout, ended.stderr)

    def fails(self, *arguments: str, **options: Any) -> str:
        """Run a command that must fail, with one plain sentence. Returns it."""
        result = self(*arguments, code=1, **options)
        assert result.out == ""
        (line,) = result.err.strip().splitlines()
        assert line.startswith("Error: ")
        assert line.endswith(".")
        return line.removeprefix("Error: ")


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
