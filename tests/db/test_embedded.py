"""The embedded PostgreSQL: starts quickly, belongs to whoever started it, and leaves nothing running."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from idp.db import embedded
from idp.db.embedded import EmbeddedError, EmbeddedPostgres, EmbeddedUnavailable

ROOT = Path(__file__).parents[2]


def _pid(data_dir: Path) -> int:
    return int((data_dir / "postmaster.pid").read_text().splitlines()[0])


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _socket_folder(server: EmbeddedPostgres) -> Path:
    return Path(parse_qs(urlsplit(server.dsn).query)["host"][0])


async def _ask(server: EmbeddedPostgres, question: str) -> object:
    connection = await asyncpg.connect(server.dsn)
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


async def test_it_is_a_postgresql_18_on_a_socket_that_only_its_owner_reaches(tmp_path: Path) -> None:
    with EmbeddedPostgres.start(tmp_path / "data") as server:
        assert await _ask(server, "SELECT current_setting('server_version_num')::int / 10000") == 18
        assert await _ask(server, "SHOW listen_addresses") == ""
        assert await _ask(server, "SHOW server_encoding") == "UTF8"
        assert stat.S_IMODE(_socket_folder(server).stat().st_mode) == 0o700


async def test_what_was_stored_is_there_after_a_restart(tmp_path: Path) -> None:
    with EmbeddedPostgres.start(tmp_path / "data") as server:
        connection = await asyncpg.connect(server.dsn)
        await connection.execute("CREATE TABLE kept AS SELECT 42 AS value")
        await connection.close()
        first = _pid(tmp_path / "data")
    assert not _runs(first)
    with EmbeddedPostgres.start(tmp_path / "data") as server:
        assert await _ask(server, "SELECT value FROM kept") == 42


async def test_a_second_user_attaches_and_does_not_stop_it(tmp_path: Path) -> None:
    with EmbeddedPostgres.start(tmp_path / "data") as owner:
        guest = EmbeddedPostgres.start(tmp_path / "data")
        assert (owner.owned, guest.owned) == (True, False)
        assert guest.dsn == owner.dsn
        guest.stop()
        assert await _ask(owner, "SELECT 1") == 1


async def test_a_path_too_long_for_a_socket_gets_a_temporary_folder(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 120) / "data"
    server = EmbeddedPostgres.start(deep)
    folder = _socket_folder(server)
    try:
        assert await _ask(server, "SELECT 1") == 1
        assert not folder.is_relative_to(tmp_path)
    finally:
        server.stop()
    assert not folder.exists()


async def test_an_interrupted_first_start_is_made_good(tmp_path: Path) -> None:
    half = tmp_path / "data"
    half.mkdir()
    (half / "base").mkdir()
    with EmbeddedPostgres.start(half) as server:
        assert await _ask(server, "SELECT 1") == 1
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


async def test_it_starts_after_a_crash(tmp_path: Path) -> None:
    """A postmaster.pid that was left behind stops nobody, even when its process id belongs to another process now."""
    server = EmbeddedPostgres.start(tmp_path / "data")
    os.kill(_pid(tmp_path / "data"), signal.SIGKILL)
    server.stop()
    path = tmp_path / "data" / "postmaster.pid"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    (_socket_folder(server) / ".s.PGSQL.5432").unlink(missing_ok=True)
    with EmbeddedPostgres.start(tmp_path / "data") as again:
        assert again.owned
        assert await _ask(again, "SELECT 1") == 1


def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from idp.db.embedded import EmbeddedPostgres;"
        "server = EmbeddedPostgres.start(Path(sys.argv[1])); print('up', flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "data")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "up\n"
    pid = _pid(tmp_path / "data")
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(pid)


def test_a_folder_that_cannot_be_made_is_one_plain_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EmbeddedError, match=r"cannot be created: .*IDP_DATA_DIR") as caught:
        EmbeddedPostgres.start(tmp_path / "file" / "data")
    assert "\n" not in str(caught.value)


def test_a_database_that_will_not_start_says_why(tmp_path: Path) -> None:
    data = tmp_path / "data"
    EmbeddedPostgres.start(data).stop()
    (data / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(EmbeddedError, match="did not start") as caught:
        EmbeddedPostgres.start(data)
    assert "\n" not in str(caught.value)
    assert "incompatible" in str(caught.value)


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_programs", lambda: None)
    assert not embedded.available()
    with pytest.raises(EmbeddedUnavailable, match=r"idp\[embedded\]"):
        EmbeddedPostgres.start(tmp_path / "data")


@pytest.mark.parametrize("variable", ["PGDATA", "PGPORT", "PGHOST"])
async def test_variables_of_the_user_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "5999")
    with EmbeddedPostgres.start(tmp_path / "data") as server:
        monkeypatch.delenv(variable)
        assert await _ask(server, "SELECT 1") == 1
