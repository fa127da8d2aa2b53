"""The example of docs/clients.md: a service that authenticates by a key."""

import asyncio
import re
import shlex
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from idp import ids
from idp.oauth.clients.service import delete_client
from tests.cli.conftest import Cli, cli
from tests.support.server import Server

__all__ = ["cli"]

DOCS = Path(__file__).parents[2] / "docs"


async def test_a_service_with_a_key(
    cli: Cli, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (make_key,) = re.findall(r"```python\n(.*?)```", (DOCS / "profiles.md").read_text("utf-8"), re.DOTALL)
    subprocess.run([sys.executable, "-c", make_key], cwd=tmp_path, check=True)
    text = (DOCS / "clients.md").read_text("utf-8")
    (command,) = re.findall(r"\$ (idp clients create --id report-job(?:.*\\\n)*.*)\n", text)
    (script,) = (each for each in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "client_assertion" in each)
    client_id = f"job-{ids.random_token()[:8]}"
    values = {"report-job": client_id, "jwks.json": str(tmp_path / "jwks.json"), "orders:read": ""}
    cli(*(values.get(word, word) for word in shlex.split(command.replace("\\\n", " "))[1:]))
    script = script.replace("report-job", client_id).replace("https://id.example.com", server.issuer)
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    async with asyncio.timeout(30):
        while True:
            try:
                await asyncio.to_thread(exec, script, {})
                break
            except httpx.HTTPStatusError:  # The server does not know the client yet.
                await asyncio.sleep(0.05)
    assert capsys.readouterr().out.count(".") == 2
    await delete_client(client_id)
