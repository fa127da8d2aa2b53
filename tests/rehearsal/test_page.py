"""The commands of docs/upgrades.md, from one installation to another."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

from idp.infra.db import embedded
from tests.conftest import MASTER_KEY
from tests.rehearsal.test_rehearse import COLUMN, SECONDS
from tests.support.isolated import isolated
from tests.support.migrations import install, migration
from tests.support.postgres import Cluster
from tests.support.prefork import ROOT
from tests.support.server import CHEAP_HASHING, clean_environment

PAGE = ROOT / "docs" / "upgrades.md"


def environment_of(folder: Path, *migrations: str) -> Path:
    """What looks like the virtual environment of a version."""
    source = install(folder / "source", *migrations)
    (folder / "bin").mkdir()
    program = folder / "bin" / "idp"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={source} exec {sys.executable} -m idp "$@"\n')
    program.chmod(0o755)
    return folder


async def test_an_upgrade(cluster: Cluster, template: str, tmp_path: Path) -> None:
    live, copy = await cluster.create_database(template), await cluster.create_database(template)
    async with isolated(live):
        """The root key is made."""
    variables = {
        "IDP_DATABASE_URL": live,
        "IDP_MASTER_KEY": MASTER_KEY,
        "OLD": str(environment_of(tmp_path / "old")),
        "NEW": str(environment_of(tmp_path / "new", migration(1, COLUMN))),
        "OTHER_SERVER_URL": cluster.admin_dsn,
        "COPY_URL": copy,
    }
    if (programs := embedded.find_programs()) is not None:
        variables["PATH"] = f"{programs}:{clean_environment()['PATH']}"
    commands = re.findall(r"^\$ (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    done = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-euo", "pipefail", "-c", "\n".join(commands)],
        cwd=tmp_path,
        env=clean_environment() | CHEAP_HASHING | variables,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\nGo.\n") == 3
    assert "old to new  refresh" in done.stdout
    applied = done.stdout.index("Applied 9999-01-01T00:00:00:000000.")
    # The old version does not know the migration, and works.
    assert "m0002_test" in done.stdout[applied:]
