"""Devices: the program of docs/device.md and the console's snippet sign a user in."""

import asyncio
import re
import secrets
import shlex
import sys
from pathlib import Path

import httpx

from idp.accounts.tables import User
from tests.cli.conftest import Cli, cli
from tests.clients.conftest import HERE, node, of_client, program
from tests.conftest import MakeClient, until_known
from tests.support.browser import Browser, as_page
from tests.support.devices import METADATA, approve_code, open_page
from tests.support.oauth import RelyingParty
from tests.support.server import Server

__all__ = ["cli"]

DOCS = (HERE.parents[1] / "docs" / "device.md").read_text()


def _code(line: str) -> str:
    found = re.search(r"[A-Z]{4}-[A-Z]{4}", line)
    assert found is not None, line
    return found[0]


async def test_the_terminal_program(
    cli: Cli, server: Server, http: httpx.AsyncClient, browser: Browser, alice: User, tmp_path: Path
) -> None:
    """Of the client that the page registers. It draws the address as a QR code, waits, and gets the email address."""
    (command,) = re.findall(r"\$ (idp clients create .*)\n", DOCS)
    party = RelyingParty(server.issuer, http, f"tv-{secrets.token_hex(4)}")
    await asyncio.to_thread(cli, *shlex.split(command.replace("our-tv", party.client_id))[1:])
    await until_known(party)
    (code,) = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
    (tmp_path / "main.py").write_text(code)
    environment = {"ISSUER": party.issuer, "CLIENT_ID": party.client_id, "PYTHONIOENCODING": "utf-8"}
    async with program(sys.executable, "main.py", cwd=tmp_path, **environment) as terminal:
        lines = [await terminal.read()]
        while "enter the code" not in lines[-1]:
            lines.append(await terminal.read())
        # The QR code of the address has at least 29 modules a side, two in each line.
        assert len(lines) > 15
        await approve_code(browser, alice.email, _code(lines[-1]))
        assert await terminal.read() == f"Signed in as {alice.email}"


async def test_the_terminal_program_is_refused(
    make_client: MakeClient, browser: Browser, alice: User, tmp_path: Path
) -> None:
    party = await make_client(**METADATA)
    (code,) = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
    (tmp_path / "main.py").write_text(code)
    environment = {"ISSUER": party.issuer, "CLIENT_ID": party.client_id, "PYTHONIOENCODING": "utf-8"}
    async with program(sys.executable, "main.py", cwd=tmp_path, **environment) as terminal:
        line = await terminal.read()
        while "enter the code" not in line:
            line = await terminal.read()
        page = await open_page(browser, alice.email)
        page = as_page(await browser.submit(page, "device-submit", user_code=_code(line)))
        await browser.submit(page, "device-deny")
        assert await terminal.process.wait() == 1
        assert terminal.process.stderr is not None
        assert (await terminal.process.stderr.read()).decode().strip() == "No access: access_denied"


async def test_openid_client(make_client: MakeClient, browser: Browser, alice: User, tmp_path: Path) -> None:
    party = await make_client(**METADATA)
    snippet = (await of_client(party))["Node: openid-client"]
    async with node(tmp_path, main=snippet) as service:
        await approve_code(browser, alice.email, _code(await service.read()))
        assert await service.read() == f"Signed in: {alice.id}"
