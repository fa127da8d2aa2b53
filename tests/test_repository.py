"""The repository: the commands in documents, the workflows."""

import itertools
import json
import os
import re
import shlex
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import yaml

import idp

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
YAML = [*sorted(GITHUB.rglob("*.yml")), ROOT / ".pre-commit-config.yaml"]
#: Documents that a reader of the repository expects, and templates that GitHub uses.
DOCUMENTS = [
    "README.md", "LICENSE", "SECURITY.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "CHANGELOG.md", "tests/README.md",
    ".github/PULL_REQUEST_TEMPLATE.md",
]  # fmt: skip
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def run(*words: str | Path, cwd: Path = ROOT) -> str:
    """Run a program that must succeed. Returns its output."""
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def commands(document: str) -> list[str]:
    """The command lines in the console blocks of a document, without comments."""
    blocks = "".join(re.findall(r"```console\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)).replace("\\\n", "")
    lines = [line.removeprefix("$ ") for line in blocks.splitlines() if line.startswith("$ ")]
    return [shlex.join(shlex.split(line, comments=True)) for line in lines]


def test_the_changelog_has_this_version() -> None:
    versions = re.findall(r"^## \[([^]]+)\](?: - \d{4}-\d\d-\d\d)?$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[:2] == ["Unreleased", idp.__version__]


def test_libraries_whose_private_parts_are_used_have_an_upper_bound() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounded = {re.split(r"[\[<>=]", line)[0] for line in project["dependencies"] if "<" in line}
    assert {"granian", "joserfc", "litestar", "piccolo"} <= bounded


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_in_documents_lead_somewhere(document: str) -> None:
    path = ROOT / document
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text())
    assert [target for target in targets if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("path", [*(ROOT / name for name in DOCUMENTS), *YAML], ids=lambda path: path.name)
def test_every_make_target_that_is_named_exists(path: Path) -> None:
    named = set(re.findall(r"(?:`|\$ |run: |entry: |^)make ([a-z-]+)", path.read_text(), re.MULTILINE))
    assert named - TARGETS == set()


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_every_command_in_a_document_exists(document: str) -> None:
    """Programs of the system, commands of `idp` with their options, and scripts of this repository."""
    for line in commands(document):
        program, *words = shlex.split(line)
        if Path(program).name == "idp":
            assert run(sys.executable, "-m", "idp", *itertools.takewhile(str.isalpha, words), "--help")
        else:
            assert program in {"curl", "export", "make"}, line
    for script in re.findall(r"`(\.ci/[a-z-]+)", (ROOT / document).read_text()):
        assert os.access(ROOT / script, os.X_OK), script


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_yaml_parses(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text()), dict)


@pytest.mark.parametrize("path", sorted(GITHUB.glob("workflows/*.yml")), ids=lambda path: path.name)
def test_workflows_are_complete(path: Path) -> None:
    """Each has a trigger and least rights, each action a commit and a version, and each step a script that exists."""
    workflow = yaml.safe_load(path.read_text())
    actions = re.findall(r"uses: ([^.].*)", path.read_text())
    assert [
        action for action in actions if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)
    ] == []
    # YAML 1.1 reads the key `on` as true.
    assert workflow[True]
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        if "uses" in job:
            assert (ROOT / job["uses"]).is_file()
            continue
        assert job["runs-on"]
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            if step.get("run", "").startswith(".ci/"):
                assert os.access(ROOT / step["run"].split()[0], os.X_OK)


def test_workflows_give_attackers_nothing() -> None:
    """What zizmor finds without the internet: injected expressions, kept credentials, actions without a commit."""
    program = Path(sys.executable).with_name("zizmor")
    if not program.exists():
        pytest.skip("Not in this environment. Run make check once.")
    run(program, "--offline", "--no-progress", "--min-severity", "medium", GITHUB)


def test_ci_covers_the_oldest_python_that_is_supported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    matrix = yaml.safe_load((GITHUB / "workflows/ci.yml").read_text())["jobs"]["run"]["strategy"]["matrix"]["python"]
    assert project["requires-python"] == f">={matrix[0]}"
    assert {f"Programming Language :: Python :: {version}" for version in matrix} <= set(project["classifiers"])


@pytest.mark.parametrize("form", sorted(GITHUB.glob("ISSUE_TEMPLATE/*.yml")), ids=lambda path: path.name)
def test_issue_forms_have_what_github_requires(form: Path) -> None:
    document = yaml.safe_load(form.read_text())
    if form.name == "config.yml":
        assert document == {"blank_issues_enabled": False}
        return
    assert document["name"]
    assert document["description"]
    fields = [field for field in document["body"] if field["type"] != "markdown"]
    assert all(field["attributes"]["label"] for field in fields)
    assert len({field["id"] for field in fields}) == len(fields) > 0


@pytest.mark.parametrize(
    ("subject", "accepted"),
    [("a" * 72, True), ("a" * 73, False), ("ä" * 72, True), ("Reject expired codes.", False)],
)
def test_the_subject_of_a_commit_is_checked(subject: str, accepted: bool, tmp_path: Path) -> None:
    message = tmp_path / "message"
    message.write_text(f"# a comment of Git\n{subject}\n\n{'b' * 200}\n")
    done = subprocess.run([ROOT / ".ci/check-subject", message], capture_output=True, text=True, check=False)
    assert (done.returncode == 0, "subject" in done.stderr) == (accepted, not accepted)


def test_the_hooks_are_valid_and_check_the_subject(tmp_path: Path) -> None:
    pytest.importorskip("pre_commit", reason="Not in this environment. Run make check once.")
    environment = os.environ | {"PRE_COMMIT_HOME": str(tmp_path / "home")}
    program = [sys.executable, "-m", "pre_commit"]
    subprocess.run([*program, "validate-config"], cwd=ROOT, check=True, env=environment)
    codes = []
    for subject in ("Reject expired codes", "a" * 73):
        (message := tmp_path / "message").write_text(f"{subject}\n")
        hook = [*program, "run", "subject", "--hook-stage", "commit-msg", "--commit-msg-filename", message]
        codes.append(subprocess.run(hook, cwd=ROOT, env=environment, check=False, stdout=subprocess.DEVNULL).returncode)
    assert codes == [0, 1]


class Advisories(BaseHTTPRequestHandler):
    """The API of osv.dev, with one advisory: for the installed version of `vulnerable`."""

    vulnerable = ""
    seen: ClassVar[dict[str, str]] = {}

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        package, version = query["package"], query["version"]
        self.seen[package["name"]] = version
        affected = [{"package": package, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]}]
        advisory = {"id": "PYSEC-2026-1", "modified": "2026-01-01T00:00:00Z", "affected": affected}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"vulns": [advisory]} if package["name"] == self.vulnerable else {}).encode())

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def advisories(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an advisory service on loopback."""
    pytest.importorskip("pip_audit", reason="Not in this environment. Run make check once.")
    monkeypatch.setattr(Advisories, "seen", {})
    with ThreadingHTTPServer(("127.0.0.1", 0), Advisories) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()


@pytest.mark.parametrize(("vulnerable", "code"), [("", 0), ("jinja2", 1)])
def test_the_audit_fails_for_an_advisory(
    advisories: str, vulnerable: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Advisories, "vulnerable", vulnerable)
    done = subprocess.run([ROOT / ".ci/audit", "--osv-url", advisories], capture_output=True, text=True, check=False)
    assert (done.returncode, "PYSEC-2026-1" in done.stdout) == (code, code == 1), done.stderr
    # Everything that is locked for this platform was queried, by name and version.
    locked = dict(re.findall(r"^([\w.-]+)==(\S+) \\$", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    assert locked
    assert {name: Advisories.seen.get(name) for name in locked} == locked


def test_an_audit_without_the_service_fails_and_says_so(advisories: str) -> None:
    unreachable = "http://127.0.0.1:1/v1/query"
    done = subprocess.run([ROOT / ".ci/audit", "--osv-url", unreachable], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "did not answer, so nothing was audited" in done.stderr


def test_the_table_of_tests_names_every_folder() -> None:
    """A folder of tests has the name of a package, or the table describes it."""
    table = set(re.findall(r"^\| `([a-z_]+)/` \|", (ROOT / "tests/README.md").read_text(), re.MULTILINE))
    folders = {path.parent.relative_to(ROOT / "tests").parts[0] for path in ROOT.glob("tests/*/*.py")}
    mirrored = {name for name in folders if (ROOT / "idp" / name).is_dir()}
    assert folders - mirrored == table


def test_rows_of_attacks_are_explained_where_they_are_named() -> None:
    """Outside of tests/attacks, a file that mentions a row says which list it means."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if path.parent.name != "attacks" and re.search(r"\brow \d+", text := path.read_text(), re.IGNORECASE):
            assert "tests/attacks/" in text, path.name
