"""PostgreSQL servers that replicate, and that are killed, paused, promoted and started again."""

import asyncio
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg

from idp.infra.db import embedded
from idp.infra.db.os_user import OSUser
from tests.support.processes import children, until
from tests.support.server import free_port

#: Nothing here survives a crash of the machine, and nothing has to.
OPTIONS = {"fsync": "off", "wal_level": "replica", "max_wal_senders": "4", "max_connections": "80", "hot_standby": "on"}
START_SECONDS = 30


def _programs() -> Path:
    found = embedded.find_programs()
    assert found is not None
    return found


class Node:
    """One PostgreSQL, on a port of its own.

    Args:
        folder: a folder for its data and its log.
        options: settings of PostgreSQL.
    """

    def __init__(self, folder: Path, port: int | None = None, **options: str) -> None:
        self.folder, self.data, self.port = folder, folder / "data", port or free_port()
        self.options = OPTIONS | options
        self._account = OSUser.for_server()
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._account.own(folder)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def dsn(self) -> str:
        return url(self)

    @property
    def log(self) -> str:
        return embedded._log(self.data).read_text(errors="replace")

    def copy(self, data: Path) -> "Node":
        """Use a copy of the data folder of a server that was shut down."""
        subprocess.run(["cp", "-a", str(data), str(self.data)], check=True)
        return self

    def follow(self, primary: "Node") -> "Node":
        """Restore a base backup of a server, of which this one will be a standby."""
        return self.restore(primary, "-R")

    def restore(self, primary: "Node", *options: str) -> "Node":
        """Restore a base backup that is made of a server now."""
        source = f"host=127.0.0.1 port={primary.port} user=postgres application_name=standby"
        fast = ("-X", "stream", "-c", "fast", "--no-sync")
        self._run("pg_basebackup", "-D", self.data, "-d", source, *fast, *options)
        return self

    def start(self) -> "Node":
        """Start it. Returns once it accepts connections."""
        embedded._reclaim(self.data)
        sockets = {"listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": ""}
        # The log is written from its beginning at each start.
        self.process = embedded._launch(_programs(), self.data, self.folder, self._account, sockets | self.options)
        until(self._accepts, START_SECONDS)
        return self

    def _accepts(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        with suppress(FileNotFoundError):
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return len(lines) >= 8 and int(lines[0]) == self.process.pid and lines[7].strip() in ("ready", "standby")
        return False

    def promote(self) -> None:
        """Make a primary of a standby. Returns once it accepts writes."""
        self._run("pg_ctl", "promote", "-D", self.data, "-w")

    def rewind(self, primary: "Node") -> None:
        """Make a standby of an old primary that was shut down: what only it has is undone."""
        source = f"host=127.0.0.1 port={primary.port} user=postgres dbname=idp"
        self._run("pg_rewind", "-D", self.data, "--source-server", source, "-R", "--no-sync")

    def _run(self, program: str, *arguments: str | Path) -> None:
        failure = embedded._run([_programs() / program, *arguments], self._account)
        assert failure is None, failure

    def _signal(self, number: int) -> None:
        """Send a signal to the server and to all of its processes."""
        assert self.process is not None
        for pid in (self.process.pid, *children(self.process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """End it at once, as a crash of the machine would: no process of it answers or writes any more."""
        assert self.process is not None
        # The server would start its processes again.
        self.process.send_signal(signal.SIGSTOP)
        self._signal(signal.SIGKILL)
        self.process.wait()

    def pause(self) -> None:
        """Let it hang: connections stay open, and are accepted by the kernel, but nothing answers."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """Shut it down cleanly, if it runs. All that was committed reaches the standby first."""
        if self.process is not None and self.process.poll() is None:
            self.resume()
            embedded._end(self.process)

    async def fetch(self, statement: str, *arguments: object) -> list[Any]:
        """Run a statement as an administrator of the database would."""
        connection = await asyncpg.connect(self.dsn, timeout=10)
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()

    async def until(self, condition: str, seconds: float = 30) -> None:
        """Wait until a statement returns true."""
        async with asyncio.timeout(seconds):
            while not any(row[0] for row in await self.fetch(condition)):
                await asyncio.sleep(0.02)

    async def cut(self) -> None:
        """End all other connections to the database."""
        await self.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend'"
            " AND pid <> pg_backend_pid()"
        )

    async def configure(self, **options: str) -> None:
        """Change settings of the running server."""
        for name, value in options.items():
            await self.fetch(f"ALTER SYSTEM SET {name} = '{value}'")
        await self.fetch("SELECT pg_reload_conf()")


def url(*nodes: Node) -> str:
    """Return the URL of the database with these hosts."""
    return f"postgresql://postgres@{','.join(node.host for node in nodes)}/{embedded.DATABASE}"


async def stored(node: Node) -> set[str]:
    """Return the ``jti`` of each refresh token in the database."""
    return {str(row["jti"]) for row in await node.fetch("SELECT jti FROM refresh_token")}


async def revoked(node: Node) -> int:
    """Return the number of token families that were revoked."""
    return len(await node.fetch("SELECT FROM token_family WHERE revoked_at IS NOT NULL"))
