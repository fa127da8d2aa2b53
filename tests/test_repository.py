"""The repository itself: the package that is built from it, the commands that its documents name, its workflows."""

import email
import re
import shlex
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import idp

ROOT = Path(__file__).parents[1]


def run(*words: str | Path, cwd: Path = ROOT) -> str:
    """Run a program that must succeed. Returns what it printed."""
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def commands(document: str) -> list[str]:
    """The command lines in the console blocks of a document, without comments."""
    blocks = "".join(re.findall(r"```console\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)).replace("\\\n", "")
    lines = [line.removeprefix("$ ") for line in blocks.splitlines() if line.startswith("$ ")]
    return [shlex.join(shlex.split(line, comments=True)) for line in lines]


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-d", folder)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Iterator[zipfile.ZipFile]:
    (path,) = dist.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        yield wheel


def test_the_wheel_has_the_licence_the_version_and_the_types(wheel: zipfile.ZipFile) -> None:
    info = f"idp-{idp.__version__}.dist-info"
    metadata = email.message_from_bytes(wheel.read(f"{info}/METADATA"))
    assert metadata["Version"] == idp.__version__
    assert metadata["License-Expression"] == "MIT"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert wheel.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert {"idp/py.typed", "idp/templates/base.html"} <= set(wheel.namelist())
    assert [name for name in wheel.namelist() if not name.startswith(("idp/", info))] == []


def test_a_wheel_can_be_built_from_the_sdist(dist: Path, wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    assert (source / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=source)
    (rebuilt,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(rebuilt) as again:
        assert sorted(again.namelist()) == sorted(wheel.namelist())


def test_the_changelog_has_this_version() -> None:
    versions = re.findall(r"^## \[([^]]+)\](?: - \d{4}-\d\d-\d\d)?$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[:2] == ["Unreleased", idp.__version__]


def test_libraries_whose_private_parts_are_used_have_an_upper_bound() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounded = {re.split(r"[\[<>=]", line)[0] for line in project["dependencies"] if "<" in line}
    assert {"granian", "httpcore", "httpx", "joserfc", "litestar", "piccolo"} <= bounded


def test_the_readme_installs_from_the_lock(tmp_path: Path) -> None:
    """Its commands, in an environment that borrows the libraries of this one, so that nothing is downloaded."""
    make, install, project = (line for line in commands("README.md") if "/opt/idp" in line)
    assert shlex.split(make)[1:] == ["-m", "venv", "/opt/idp"]
    # Every locked version is installed already: pip compares and changes nothing.
    printed = run(sys.executable, "-m", *shlex.split(install.replace("/opt/idp/bin/", "")), "--dry-run")
    assert "Would install" not in printed
    venv.create(tmp_path, with_pip=True)
    (packages,) = tmp_path.glob("lib/python3*/site-packages")
    (packages / "borrowed.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    run(*shlex.split(project.replace("/opt/idp", str(tmp_path))))
    assert run(tmp_path / "bin" / "idp", "--version", cwd=tmp_path).strip() == f"idp, version {idp.__version__}"
    where = run(tmp_path / "bin" / "python", "-c", "import idp; print(idp.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(packages)
