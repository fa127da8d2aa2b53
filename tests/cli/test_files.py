"""Commands that read or write files of the operator, and cannot: one plain sentence that names the file."""

from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.conftest import MASTER_KEY


@pytest.fixture
def cli(tmp_path: Path, db: str) -> Cli:
    return Cli(tmp_path, {"IDP_DATABASE_URL": db, "IDP_MASTER_KEY": MASTER_KEY})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("config", "export", "-o", "missing/site.yaml"), "missing/site.yaml: No such file or directory."),
        (
            ("config", "plan", "-f", "a.yaml", "-o", "missing/plan.json"),
            "missing/plan.json: No such file",
        ),
        (("config", "plan", "-f", "x" * 300), "File name too long."),
        (("audit", "export", "--output", "missing/a.jsonl"), "missing/a.jsonl cannot be written"),
        (("mail", "templates", "export", "a.yaml/folder"), "Not a directory."),
        (("keys", "import", "a.yaml"), "key"),
        (("migrate", "compare", "--issuer", "\x01"), "'\\x01' is no URL of an issuer."),
        (("migrate", "compare", "--issuer", "https://[::1"), "https://[::1"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_one_sentence(cli: Cli, tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    (tmp_path / "a.yaml").write_text("version: 1\ngroups:\n  - name: Staff of this test\n")
    ended = cli(*arguments, code=1)
    assert ended.err.startswith("Error: ")
    assert "Unexpected error" not in ended.err
    assert says in ended.err.replace("\n", " ")
