"""Libraries that we did not write, installed by `tests/clients/install`, run what the console and the docs print.

Where a program or a library is missing, its tests are skipped; `.ci/run` installs them all.
"""

import asyncio
import json
import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from idp.admin.console import snippets
from idp.infra.db.engine import fetchrow
from idp.oauth.clients.repository import flat
from idp.settings import settings
from tests.support.browser import Browser, Page, Redirect
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.server import clean_environment

HERE = Path(__file__).parent
NODE, JAVA, PYTHON = HERE / "node" / "node_modules", HERE / "java" / "lib", HERE / "python" / "lib"
MCP = HERE / "mcp" / "lib"
DPOP = (HERE.parents[1] / "docs" / "dpop.md").read_text()
#: Generous, because other tests use the same two cores.
TIMEOUT_SECONDS = 120

collect_ignore_glob = ["python/lib*", "mcp/lib*"]


def need(library: Path, *programs: str) -> None:
    """Skip a test whose library or programs are not on this machine."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing or not library.is_dir():
        pytest.skip(f"Not on this machine: {', '.join(missing) or library.name}. Run tests/clients/install.")


@dataclass
class Program:
    """A program that is talked to in lines."""

    process: asyncio.subprocess.Process

    async def read(self) -> str:
        """Its next line.

        Raises:
            AssertionError: it ended instead.
        """
        assert self.process.stdout is not None
        async with asyncio.timeout(TIMEOUT_SECONDS):
            line = await self.process.stdout.readline()
        if not line:
            assert self.process.stderr is not None
            raise AssertionError((await self.process.stderr.read()).decode())
        return line.decode().rstrip("\n")

    async def ask(self, line: str) -> Any:
        """Send a line, and read the JSON that answers it."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        await self.process.stdin.drain()
        return json.loads(await self.read())


@asynccontextmanager
async def program(*command: str, cwd: Path, **environment: str) -> AsyncIterator[Program]:
    """Run a program for as long as it is talked to."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=cwd, env=clean_environment() | environment
    )
    try:
        yield Program(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def node(folder: Path, **files: str) -> Any:
    """Run `main.mjs` among these files, which see the libraries."""
    need(NODE, "node")
    (folder / "node_modules").symlink_to(NODE)
    for name, content in files.items():
        (folder / f"{name}.mjs").write_text(content)
    return program("node", "main.mjs", cwd=folder)


def python(folder: Path, code: str) -> Any:
    """Run a script that sees our own environment, and the libraries before it."""
    need(PYTHON)
    (folder / "main.py").write_text(code)
    return program(sys.executable, "main.py", cwd=folder, PYTHONPATH=str(PYTHON), PYTHONUNBUFFERED="1")


def script(language: str, holding: str, changes: dict[str, str]) -> str:
    """Return the only script of docs/dpop.md that contains a text, for the test's server."""
    (found,) = [code for code in re.findall(rf"```{language}\n(.*?)```", DPOP, re.DOTALL) if holding in code]
    for old, new in changes.items():
        found = found.replace(old, new)
    return str(found)


async def of_client(party: RelyingParty) -> dict[str, str]:
    """Return the console's snippets for a client, for the test's server."""
    row = flat(await fetchrow("SELECT * FROM client WHERE client_id = $1", party.client_id) or {})
    return _at(party.issuer, snippets.of_client(row, party.client_secret or "THE_SECRET"))


async def of_resource_server(identifier: str, issuer: str) -> dict[str, str]:
    """Return the console's snippets for a resource server."""
    row = await fetchrow("SELECT * FROM resource_server WHERE identifier = $1", identifier)
    return _at(issuer, snippets.of_resource_server(row))


def _at(issuer: str, found: list[tuple[str, str]]) -> dict[str, str]:
    return {title.partition(" (")[0]: text.replace(settings().issuer, issuer) for title, text in found}


async def sign_in(browser: Browser, url: str, email: str) -> str:
    """Do the user's part between the authorization request and the response. Returns the address of the response."""
    answer = await browser.get(url)
    if isinstance(answer, Page) and "login-submit" in answer.ids:
        answer = await browser.sign_in(answer, email, PASSWORD)
    if isinstance(answer, Page) and "consent-allow" in answer.ids:
        answer = await browser.submit(answer, "consent-allow")
    assert isinstance(answer, Redirect), answer.text
    return answer.location
