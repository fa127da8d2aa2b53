"""The wheel: what it holds, that the lock fits it, and that it serves where nothing else of the repository is.

Nothing is downloaded: the environments borrow the libraries of this one, whose versions are those of the lock.
"""

import email
import hashlib
import re
import signal
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import idp
from tests.install.conftest import ROOT, commands, run, tracked
from tests.support.processes import until
from tests.support.server import START_WITHIN_SECONDS, TLS, clean_environment, free_port

PAGE = "docs/install.md"
INFO = f"idp-{idp.__version__}.dist-info"


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment in which the wheel was installed by the command of the page."""
    folder = tmp_path_factory.mktemp("installed")
    assert commands(PAGE, "python3") == [["python3", "-m", "venv", "/opt/idp"]]
    locked, project = (words for words in commands(PAGE, "pip") if words[0] == "/opt/idp/bin/pip")
    venv.create(folder)
    (packages,) = folder.glob("lib/python3*/site-packages")
    (packages / "borrowed.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    # Every locked version is there already, so pip compares and changes nothing.
    python = folder / "bin" / "python"
    assert "Would install" not in run(sys.executable, "-m", "pip", "--python", python, *locked[1:], "--dry-run")
    assert project[-1] == f"./{wheel.name}"
    run(sys.executable, "-m", "pip", "--python", python, *project[1:-1], wheel)
    return folder


def test_the_wheel_is_the_package_and_its_templates(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = email.message_from_bytes(archive.read(f"{INFO}/METADATA"))
        assert archive.read(f"{INFO}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    shipped = {name if name.startswith("idp/") else f"idp/{name}" for name in tracked("idp", "templates")}
    info = {f"{INFO}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")}
    assert names == shipped | info
    assert {"idp/py.typed", "idp/templates/static/idp.css", "idp/locales/de/messages.po"} <= names
    assert (metadata["Version"], metadata["License-Expression"]) == (idp.__version__, "MIT")
    assert metadata.get_all("License-File") == ["LICENSE"]


def test_a_wheel_can_be_built_from_the_sdist(dist: Path, wheel: Path, tmp_path: Path) -> None:
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=source)
    (rebuilt,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(rebuilt) as again, zipfile.ZipFile(wheel) as first:
        assert sorted(again.namelist()) == sorted(first.namelist())


@pytest.mark.parametrize("extra", ["", "[embedded,otel]"])
def test_the_lock_as_constraints_resolves_all_dependencies(wheel: Path, extra: str) -> None:
    """As `uv tool install` and `pipx` resolve them: nothing is missing, in conflict, or to be changed."""
    pytest.importorskip("uv", reason="Not in this environment. Run make check once.")
    (uv,), (pipx,) = commands(PAGE, "uv"), commands(PAGE, "pipx")
    constrained = ["--constraints", "requirements.txt"]
    assert uv[:5] == ["uv", "tool", "install", *constrained]
    named = f"idp{extra} @ {wheel.as_uri()}"
    dry = [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable, "--offline", "--dry-run"]
    done = subprocess.run([*dry, *constrained, named], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^ \+ ([\w-]+)", done.stderr, re.MULTILINE) == ["idp"]
    # pip compares hashes as soon as there are some, so the wheel needs one as well.
    assert pipx[:5] == ["pipx", "install", "--backend", "pip", "--pip-args=--constraint requirements.txt"]
    hashed = f"{named}#sha256={hashlib.sha256(wheel.read_bytes()).hexdigest()}"
    assert pipx[5].startswith("idp[embedded] @ file://$PWD/$wheel#sha256=")
    pip = ["-m", "pip", "install", "--dry-run", "--no-index", "--constraint", "requirements.txt", hashed]
    assert f"Would install idp-{idp.__version__}\n" in run(sys.executable, *pip)


def test_the_page_names_this_version() -> None:
    named = re.findall(r"\bidp[-:](\d+\.\d+\.\d+)", (ROOT / PAGE).read_text())
    assert set(named) == {idp.__version__}


def test_every_dependency_is_locked_with_hashes() -> None:
    lines = (ROOT / "requirements.txt").read_text().replace("\\\n", "").splitlines()
    assert len(lines) > 50
    assert [line for line in lines if "==" not in line or "--hash=sha256:" not in line] == []


@pytest.fixture(scope="module")
def served(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """Run `idp serve --dev` of the wheel in an empty folder. Yields the folder and the issuer."""
    folder, port = tmp_path_factory.mktemp("served"), free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [installed / "bin" / "idp", "serve", "--dev", "--port", str(port)],
            cwd=folder, env=clean_environment(), stdout=log, stderr=log,
        )  # fmt: skip
    try:
        until(lambda: process.poll() is not None or b"Password" in (folder / "log").read_bytes(), START_WITHIN_SECONDS)
        assert process.poll() is None, (folder / "log").read_text()
        yield folder, f"http://localhost:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_the_wheel_serves_and_issues_a_token(installed: Path, served: tuple[Path, str]) -> None:
    folder, issuer = served
    program = installed / "bin" / "idp"
    assert run(program, "--version", cwd=folder).strip() == f"idp, version {idp.__version__}"
    create = ["clients", "create", "--name", "Report", "--type", "service", "--id", "report", "--scope", "orders:read"]
    secret = run(program, *create, cwd=folder, env=clean_environment()).split()[3]
    with httpx.Client(base_url=issuer, verify=TLS, timeout=30) as http:
        discovery = http.get("/.well-known/openid-configuration").json()
        assert discovery["issuer"] == issuer
        form = {"grant_type": "client_credentials", "scope": "orders:read"}
        until(lambda: http.post("/token", auth=("report", secret), data=form).status_code == 200)
        assert http.get("/static/idp.css").status_code == 200
        assert "Zur Startseite" in http.get("/none", headers={"Accept": "text/html", "Accept-Language": "de"}).text
