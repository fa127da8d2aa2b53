"""The commands of docs/backup-and-restore.md: a backup, a drill on a copy, and a restore that revives nothing."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest

from idp.infra.db import embedded
from tests.conftest import MASTER_KEY
from tests.outage.conftest import Migrated, StartPrimary
from tests.support.load import signed_in
from tests.support.oauth import RelyingParty
from tests.support.replication import Node
from tests.support.server import LOOPBACK, Server, clean_environment, free_port

pytestmark = pytest.mark.fault(43)

PAGE = Path(__file__).parents[2] / "docs" / "backup-and-restore.md"


def _commands(section: str) -> str:
    """Return the commands of a section of the page as a script."""
    text = PAGE.read_text(encoding="utf-8").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^ *\$ (.+)$", text, re.MULTILINE)
    assert found
    return "\n".join(found)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """The folder of the master key and of the mark."""
    folder = tmp_path / "keys"
    folder.mkdir()
    (folder / "master.key").write_text(MASTER_KEY)
    (folder / "master.key").chmod(0o600)
    return folder


class Run:
    """Runs the commands of a section, with the programs of the embedded PostgreSQL."""

    def __init__(self, folder: Path, keys: Path) -> None:
        self.folder, self.keys = folder, keys

    async def __call__(self, section: str, **variables: str) -> str:
        programs = embedded.find_programs()
        path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        fixed = {"PATH": path, "IDP_KEYS_DIR": str(self.keys), "SAFE_PLACE": str(self.folder / "safe")}
        script = ["bash", "-euo", "pipefail", "-c", _commands(section)]
        done = await asyncio.to_thread(
            subprocess.run,
            script,
            cwd=self.folder,
            env=clean_environment() | LOOPBACK | fixed | {"DRILL_DIR": str(self.folder / "drill")} | variables,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return str(done.stdout)


@pytest.fixture
def run(tmp_path: Path, keys: Path) -> Run:
    for name in ("safe", "drill"):
        (tmp_path / name).mkdir()
    return Run(tmp_path, keys)


class Serve:
    """Starts servers, all on one port."""

    def __init__(self, folder: Path, keys: Path) -> None:
        self.folder, self.keys, self.port = folder, keys, free_port()
        self.started: list[Server] = []

    async def __call__(self, dsn: str) -> Server:
        settings = {"IDP_DATABASE_URL": dsn, "IDP_KEYS_DIR": str(self.keys), "IDP_ADDRESS_LIMITS": "false"}
        server = await asyncio.to_thread(lambda: Server(self.folder, port=self.port, **settings))
        self.started.append(server)
        return server


@pytest.fixture
def serve(tmp_path: Path, keys: Path) -> Iterator[Serve]:
    serve = Serve(tmp_path, keys)
    yield serve
    for server in serve.started:
        server.kill()


async def _kids(server: Server, http: httpx.AsyncClient) -> set[str]:
    return {key["kid"] for key in (await http.get(f"{server.url}/.well-known/jwks.json")).json()["keys"]}


async def _refused(client: RelyingParty, *tokens: str) -> bool:
    answers = [await client.refresh(token) for token in tokens]
    return {(answer.status_code, answer.json()["error"]) for answer in answers} == {(400, "invalid_grant")}


def _at(node: Node, database: str) -> str:
    return urlunsplit(urlsplit(node.dsn)._replace(path=f"/{database}"))


def _party(migrated: Migrated, server: Server) -> RelyingParty:
    return replace(migrated.party, issuer=server.issuer)


async def test_a_dump(
    start_primary: StartPrimary, migrated: Migrated, run: Run, serve: Serve, keys: Path, http: httpx.AsyncClient
) -> None:
    """It is less than a minute old, so only the command of the page ends what it holds."""
    node = start_primary()
    admin = {"ADMIN_URL": _at(node, "postgres")}
    server = await serve(node.dsn)
    published = await _kids(server, http)
    async with signed_in(_party(migrated, server), ["0@example.com"]) as (session,):
        await run("Make a backup", IDP_DATABASE_URL=node.dsn)
        # A drill, while the server runs, takes nothing from it.
        names = {"DRILL_NAME": "drill", "DRILL_URL": _at(node, "drill")}
        assert "0@example.com" in await run("Drill", **admin, **names)
        assert b'"epoch":0' in (keys / "database.mark").read_bytes()
        assert (await session.refresh()).status == 200

        assert await asyncio.to_thread(server.stop) == 0
        names = {"RESTORED_NAME": "restored", "RESTORED_URL": _at(node, "restored")}
        assert "All users were signed out" in await run("Restore", **admin, **names)
        server = await serve(names["RESTORED_URL"])
        assert len(session.received) == 2
        assert await _refused(session.party, *session.received)
        assert (await session.party.userinfo(session.access_token)).status_code == 401
        assert not await _kids(server, http) & published
    # Users sign in again.
    async with signed_in(_party(migrated, server), ["0@example.com"]) as (session,):
        assert (await session.refresh()).status == 200


async def test_a_base_backup(start_primary: StartPrimary, migrated: Migrated, serve: Serve, tmp_path: Path) -> None:
    """It is older than a minute of use, so the server finds it out by itself."""
    primary = start_primary()
    server = await serve(primary.dsn)
    copy = Node(tmp_path / "copy", **primary.options)
    async with signed_in(_party(migrated, server), ["0@example.com"]) as (session,):
        await asyncio.to_thread(copy.restore, primary)
        assert (await session.refresh()).status == 200
        # An hour passes.
        await primary.fetch("UPDATE database_mark SET number = number + 720")
        assert await asyncio.to_thread(server.stop) == 0
        server = await serve(primary.dsn)
        assert (await session.refresh()).status == 200
        assert await asyncio.to_thread(server.stop) == 0
        try:
            await asyncio.to_thread(copy.start)
            server = await serve(copy.dsn)
            assert '"event":"database_restored"' in server.log
            assert await _refused(session.party, *session.received)
        finally:
            copy.stop()
