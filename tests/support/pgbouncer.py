"""PgBouncer in transaction mode before the tests' PostgreSQL."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from idp.infra.db.os_user import OSUser
from tests.support.server import free_port

START_WITHIN_SECONDS = 20
PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

needs_pgbouncer = pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")


class PgBouncer:
    """A running PgBouncer, by default without support for prepared statements.

    Args:
        dsn: the DSN of a database of the embedded PostgreSQL.

    Attributes:
        dsn: the DSN of the same database through PgBouncer.
    """

    def __init__(self, folder: Path, dsn: str, *, pool_size: int = 5) -> None:
        assert PROGRAM is not None
        folder.mkdir(parents=True, exist_ok=True)
        parts, port = urlsplit(dsn), free_port()
        self.dsn = f"postgresql://postgres@127.0.0.1:{port}{parts.path}"
        account, parent = OSUser.for_server(), os.getpid()
        account.own(folder)
        config = folder / "pgbouncer.ini"
        config.write_text(
            f"""[databases]
* = host={parse_qs(parts.query)["host"][0]} port=5432 user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 200
"""
        )
        with (folder / "pgbouncer.log").open("wb") as log:
            self.process = subprocess.Popen(
                [PROGRAM, str(config)],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                preexec_fn=lambda: account.enter(parent),
            )
        deadline = time.monotonic() + START_WITHIN_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        self.stop()
        raise AssertionError((folder / "pgbouncer.log").read_text())

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
