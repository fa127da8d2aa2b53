"""What is built from the files that Git has, and from nothing else that lies in the folder."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*words: str | Path, cwd: Path = ROOT, **options: object) -> str:
    """Run a program that must succeed. Returns its output."""
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, capture_output=True, text=True, timeout=300, check=False, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tracked(*paths: str) -> list[str]:
    """Return the files that Git has below some paths."""
    names = run("git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--", *paths).split("\0")
    return [name for name in names if name and (ROOT / name).is_file()]


def copy(names: list[str], folder: Path) -> Path:
    """Copy files of the repository, and return their folder."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


def commands(page: str, program: str) -> list[list[str]]:
    """Return the words of each command of a page that runs this program."""
    blocks = re.findall(r"^```console\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", "").splitlines()
    found = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines if line.startswith("$ ")]
    return [words for words in found if Path(words[0]).name == program]


@pytest.fixture(scope="package")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist."""
    source = copy(tracked(), tmp_path_factory.mktemp("source"))
    run(sys.executable, "-m", "hatchling", "build", "-d", folder := tmp_path_factory.mktemp("dist"), cwd=source)
    return folder


@pytest.fixture(scope="package")
def wheel(dist: Path) -> Path:
    (path,) = dist.glob("*.whl")
    return path
