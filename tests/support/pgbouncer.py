"""PgBouncer in transaction mode before the tests' PostgreSQL."""

import os
import shutil
import socket
import subprocess
import time
from functools import cache
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from idp.infra.db.os_user import OSUser
from tests.support.server import free_port

START_WITHIN_SECONDS = 20
PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

needs_pgbouncer = pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")


@cache
def version() -> tuple[int, ...]:
    assert PROGRAM is not None
    printed = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(map(int, printed.split()[1].split(".")))


#: Whether it can keep prepared statements, since 1.21.
KEEPS_PREPARED = PROGRAM is not None and version() >= (1, 21)


class PgBouncer:
    """A running PgBouncer, by default without support for prepared statements.

    Args:
        dsn: the DSN of a database.
        prepared: keep prepared statements.

    Attributes:
        dsn: the DSN of the same database through PgBouncer.
    """

    def __init__(self, folder: Path, dsn: str, *, pool_size: int = 5, prepared: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._port, self._pool_size, self._prepared = folder, free_port(), pool_size, prepared
        self.dsn = f"postgresql://postgres@127.0.0.1:{self._port}{urlsplit(dsn).path}"
        self._account = OSUser.for_server()
        self._account.own(folder)
        self._configure(dsn)
        self.start()

    @property
    def _config(self) -> Path:
        return self._folder / "pgbouncer.ini"

    def _configure(self, dsn: str) -> None:
        parts = urlsplit(dsn)
        host, port = parts.hostname or parse_qs(parts.query)["host"][0], parts.port or 5432
        # Older ones refuse to start with a setting that they do not know.
        keep = f"max_prepared_statements = {200 if self._prepared else 0}" if KEEPS_PREPARED else ""
        self._config.write_text(
            f"""[databases]
* = host={host} port={port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self._port}
unix_socket_dir =
auth_type = any
admin_users = postgres
pool_mode = transaction
default_pool_size = {self._pool_size}
max_client_conn = 200
server_login_retry = 1
{keep}
"""
        )

    def start(self) -> None:
        assert PROGRAM is not None
        parent, log_path = os.getpid(), self._folder / "pgbouncer.log"
        with log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [PROGRAM, str(self._config)],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                preexec_fn=lambda: self._account.enter(parent),
            )
        deadline = time.monotonic() + START_WITHIN_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self._port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        self.stop()
        raise AssertionError(log_path.read_text())

    async def command(self, command: str) -> None:
        """Run a command of the console, such as PAUSE."""
        console = await asyncpg.connect(host="127.0.0.1", port=self._port, user="postgres", database="pgbouncer")
        try:
            await console.execute(command, timeout=30)
        finally:
            console.terminate()

    async def lead_to(self, dsn: str) -> None:
        """Use another server, which has a database of the same name."""
        self._configure(dsn)
        await self.command("RELOAD")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
