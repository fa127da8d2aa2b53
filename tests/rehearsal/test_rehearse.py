"""`idp db rehearse` as a whole: two installations, a real database, servers of both on its copy."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest

from idp.accounts.users import create_user
from idp.audit.events import record
from idp.events import webhooks
from idp.infra.db import embedded
from idp.infra.db.engine import execute, transaction
from idp.keys import lifecycle
from idp.mail import outbox
from idp.provisioning import targets
from idp.rehearsal.copy import PREFIX
from idp.settings import settings
from tests.cli.conftest import Cli
from tests.conftest import MASTER_KEY
from tests.support.isolated import isolated
from tests.support.mailbox import Mailbox
from tests.support.migrations import install, migration
from tests.support.postgres import Cluster
from tests.support.receivers import Receivers
from tests.support.server import CHEAP_HASHING, LOOPBACK, Server, clean_environment

SECONDS = 180
COLUMN = "ALTER TABLE users ADD COLUMN colour text"


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Rehearse:
    """The command of a release with other migrations, on a database in use.

    Attributes:
        old: the `idp` that runs now, without them.
    """

    def __init__(self, folder: Path, live: str, **more: str) -> None:
        self.folder = folder
        self.keys = folder / "keys"
        self.keys.mkdir()
        (self.keys / "master.key").write_text(MASTER_KEY)
        (self.keys / "master.key").chmod(0o600)
        self.old = folder / "idp-old"
        self.old.write_text(f'#!/bin/sh\nunset PYTHONPATH\nexec {Path(sys.executable).parent}/idp "$@"\n')
        self.old.chmod(0o755)
        self.settings = CHEAP_HASHING | LOOPBACK | {"IDP_DATABASE_URL": live} | more
        self.pids: list[int] = []

    def start(self, *arguments: str, migrations: tuple[str, ...] = (), **changes: str) -> "subprocess.Popen[str]":
        new = install(self.folder / f"new{len(self.pids)}", *migrations)
        process = subprocess.Popen(
            [sys.executable, "-m", "idp", "db", "rehearse", *arguments],
            cwd=self.folder,
            env=clean_environment() | self.settings | {"PYTHONPATH": str(new)} | changes,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.pids.append(process.pid)
        return process

    async def __call__(self, *arguments: str, migrations: tuple[str, ...] = (), **changes: str) -> Done:
        process = self.start(*arguments, migrations=migrations, **changes)
        try:
            out, err = await asyncio.to_thread(process.communicate, timeout=SECONDS)
        finally:
            process.kill()
        return Done(process.returncode, out, err)

    async def fails(self, *arguments: str, **changes: Any) -> str:
        """Run a command that has no verdict. Returns why."""
        done = await self(*arguments, **changes)
        assert (done.code, done.out) == (2, ""), done.err
        return done.err


@pytest.fixture(scope="module")
async def live(cluster: Cluster, template: str) -> str:
    dsn = await cluster.create_database(template)
    async with isolated(dsn):
        await lifecycle.ensure_signing_key("RS256")
    return dsn


@pytest.fixture
def rehearse(tmp_path: Path, live: str) -> Rehearse:
    return Rehearse(tmp_path, live)


async def copies(cluster: Cluster, *processes: int) -> list[str]:
    """The copies that processes have made."""
    connection = await asyncpg.connect(cluster.admin_dsn)
    try:
        rows = await connection.fetch("SELECT datname FROM pg_database WHERE datname LIKE $1", f"{PREFIX}%")
        return [row["datname"] for row in rows if int(row["datname"].split("_")[2]) in processes]
    finally:
        await connection.close()


def content(dsn: str) -> str:
    """Everything in a database."""
    programs = embedded.find_programs()
    command = [(programs / "pg_dump") if programs else "pg_dump", dsn]
    text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    # These lines have a random word.
    return "".join(
        line for line in text.splitlines(keepends=True) if not line.startswith(("\\restrict", "\\unrestrict"))
    )


def first_parts(receivers: Receivers) -> set[str]:
    """The first part of the path of each request that arrived."""
    return {received.path.partition("/")[0] for received in receivers.received}


@pytest.fixture
async def waiting(
    cluster: Cluster, template: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[str, Receivers]]:
    """A database with a mail, a webhook and a user for a provisioning target, all waiting to be sent."""
    for name, value in LOOPBACK.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    dsn = await cluster.create_database(template)
    async with Receivers() as receivers:
        async with isolated(dsn):
            await lifecycle.ensure_signing_key("RS256")
            await webhooks.add(receivers.url("hook"), ["user_disabled"])
            target = await targets.create("Target", receivers.url("scim"), "the-token")
            await targets.set_enabled(target, True)
            user = await create_user("alice@example.com", None)
            async with transaction():
                await outbox.queue("alice@example.com", "welcome", name="Alice")
                await record("user_disabled", user_id=user.id)
        yield dsn, receivers
    monkeypatch.undo()
    settings.cache_clear()


async def test_an_upgrade_with_the_old_version_beside(
    waiting: tuple[str, Receivers], cluster: Cluster, tmp_path: Path, mailbox: Mailbox
) -> None:
    """The database in use and the files beside it stay as they are, and nothing of the copy reaches anybody."""
    dsn, receivers = waiting
    outside = tmp_path / "checkpoints"
    url = {"IDP_SMTP_URL": mailbox.url, "IDP_ISSUER": "https://id.example.com/auth", "IDP_TEMPLATES_DIR": "own"}
    rehearse = Rehearse(tmp_path, dsn, **url, IDP_AUDIT_CHECKPOINT_FILE=str(outside), IDP_AUDIT_CHECKPOINT_INTERVAL="1")
    (tmp_path / "own").mkdir()
    before, letters = await asyncio.to_thread(content, dsn), len(mailbox.to("alice@example.com"))
    done = await rehearse("--old-version", str(rehearse.old), "--json", migrations=(migration(1, COLUMN),))
    assert done.code == 0, done.out + done.err
    assert done.err == ""
    report = done.json
    assert report["go"] is True
    (measured,) = report["migrations"]
    assert [lock["table"] for lock in measured["statements"][0]["locks"]] == ["users"]
    at_each = ["discovery", "jwks", "client credentials", "sign in", "userinfo", "refresh", "introspect", "revoke"]
    across = ["introspect", "refresh"]
    for version, names in (("old", at_each), ("new", at_each), ("old to new", across), ("new to old", across)):
        assert [flow["name"] for flow in report["flows"] if flow["version"] == version] == names
    assert await asyncio.to_thread(content, dsn) == before
    assert await copies(cluster, *rehearse.pids) == []
    assert [path.name for path in rehearse.keys.iterdir()] == ["master.key"]
    assert not outside.exists()
    assert not (tmp_path / "data").exists()
    assert receivers.received == []
    assert len(mailbox.to("alice@example.com")) == letters

    # It was all there to be sent. And a replica of the old version starts after an upgrade too.
    async with isolated(dsn):
        await execute(COLUMN)
        await execute("INSERT INTO migration (name, app_name, ran_on) VALUES ('9999-01-01T00:00', 'idp', now())")
    server = await asyncio.to_thread(
        lambda: Server(
            tmp_path, IDP_DATABASE_URL=dsn, IDP_MASTER_KEY=MASTER_KEY, IDP_SMTP_URL=mailbox.url
        )
    )  # fmt: skip
    try:
        await mailbox.next("alice@example.com", letters + 1)
        with suppress(TimeoutError):
            async with asyncio.timeout(SECONDS):
                while not {"hook", "scim"} <= first_parts(receivers):
                    await asyncio.sleep(0.05)
        assert {"hook", "scim"} <= first_parts(receivers), server.log
    finally:
        await asyncio.to_thread(server.kill)


async def test_a_no_go_names_the_reasons(rehearse: Rehearse, cluster: Cluster) -> None:
    """On lines of 80 columns, and the later migrations did run."""
    slow = migration(1, "ALTER TABLE mail ADD COLUMN colour text", "SELECT pg_sleep(0.3)")
    done = await rehearse("--max-lock", "0.2", "--no-flows", migrations=(slow, migration(2, COLUMN)))
    assert done.code == 1, done.err
    assert max(map(len, done.out.splitlines())) <= 80
    assert "m0002_test" in done.out
    assert "NO-GO" in done.out
    assert "holds a lock on mail (ACCESS EXCLUSIVE) for 0." in " ".join(done.out.split())
    assert done.out.endswith("No-go: 1 reason.\n")
    assert "m0003_test" in done.out
    assert await copies(cluster, *rehearse.pids) == []


async def test_a_version_that_does_not_work(rehearse: Rehearse) -> None:
    """The migrations are harmless, but the code does not fit to them."""
    done = await rehearse(
        "--json", migrations=(migration(1, "ALTER TABLE authorization_code RENAME COLUMN code_hash TO digest"),)
    )
    assert done.code == 1, done.err
    assert [problem for measured in done.json["migrations"] for problem in measured["problems"]] == []
    failed = done.json["flows"][-1]
    assert failed["name"] == "sign in"
    assert failed["failure"]


async def test_nothing_is_pending(rehearse: Rehearse, cluster: Cluster) -> None:
    """The copy can be kept and used again."""
    done = await rehearse("--keep", "--no-flows")
    assert done.code == 0, done.out + done.err
    assert "No migration is pending." in done.out
    (kept,) = await copies(cluster, *rehearse.pids)
    assert f"The copy is kept: {kept}." in done.out
    try:
        again = await rehearse("--copy", cluster.dsn(kept), "--no-flows", migrations=(migration(1, COLUMN),))
        assert again.code == 0, again.out + again.err
        assert await copies(cluster, *rehearse.pids) == [kept]
    finally:
        await cluster.execute(f"DROP DATABASE {kept}")


def test_no_verdict(live: str, tmp_path: Path) -> None:
    """The exit code is 2, and the reason is one sentence."""
    cli = Cli(tmp_path, {"IDP_DATABASE_URL": live, "IDP_MASTER_KEY": MASTER_KEY})

    def said(*arguments: str, **changes: str) -> str:
        done = cli("db", "rehearse", *arguments, code=2, **changes)
        assert done.out == ""
        return done.err

    assert said("--copy", live) == "Error: --copy is the database in use (IDP_DATABASE_URL). Name a copy of it.\n"
    assert "exclude each other" in said("--copy", live, "--template", "a")
    assert "without --server and --keep" in said("--copy", live, "--keep")
    assert "not a size such as" in said("--large", "much")
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\necho hello\n")
    assert "cannot be run" in said("--old-version", str(other))
    other.chmod(0o755)
    assert "is not the command idp" in said("--old-version", str(other))
    assert "master key" in said(IDP_MASTER_KEY="")


async def test_an_old_version_that_does_not_start(rehearse: Rehearse, cluster: Cluster) -> None:
    """Such as one that does not know how to be isolated: it must not run on the copy."""
    script = (
        'case "$1" in --version) echo "idp, version 0.0.1";; *) echo "Error: There is no setting." >&2; exit 1;; esac'
    )
    rehearse.old.write_text(f"#!/bin/sh\n{script}\n")
    said = await rehearse.fails("--old-version", str(rehearse.old))
    assert said == "Error: The old version does not start on the copy: There is no setting.\n"
    assert await copies(cluster, *rehearse.pids) == []


def running_on(name: str) -> list[int]:
    """The processes whose settings name a database."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if name.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_interrupted(rehearse: Rehearse, cluster: Cluster, number: signal.Signals) -> None:
    """The copy is dropped, and the server on it ends."""
    process = rehearse.start("--old-version", str(rehearse.old), migrations=(migration(1, "SELECT pg_sleep(600)"),))
    connection = await asyncpg.connect(cluster.admin_dsn)
    try:
        async with asyncio.timeout(SECONDS):
            while not (
                name := await connection.fetchval(
                    "SELECT datname FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND datname LIKE $1",
                    f"{PREFIX}%",
                )
            ):
                assert process.poll() is None, process.communicate()
                await asyncio.sleep(0.05)
        assert running_on(name)
        os.kill(process.pid, number)
        out, err = await asyncio.to_thread(process.communicate, timeout=SECONDS)
    finally:
        process.kill()
        await connection.close()
    assert (process.returncode, out, err) == (2, "", "Interrupted.\n")
    assert await copies(cluster, *rehearse.pids) == []
    assert running_on(name) == []
