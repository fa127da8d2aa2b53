"""Migrations of a release that does not exist, in this process or in an installation of their own."""

import re
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from idp.infra.db import migrate, migrations, new_migration
from tests.support.prefork import ROOT

#: Adds a migration to those that are shipped, or replaces one of the same ID. Returns its ID.
AddMigration = Callable[[str], str]


def migration(number: int, *statements: str, transaction: bool = True) -> str:
    """A migration as `make migration` writes it, filled in."""
    source = new_migration.TEMPLATE.format(title="Test", name="test", id=f"9999-01-{number:02}T00:00:00:000000")
    source = source.replace("STATEMENTS = ()", f"STATEMENTS = {statements!r}")
    return source.replace("wrap_in_transaction=True", f"wrap_in_transaction={transaction}")


@pytest.fixture
def add_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AddMigration:
    """Adds migrations in this process."""
    shipped = dict(migrate._shipped())
    monkeypatch.setattr(migrate, "_shipped", lambda: shipped)
    monkeypatch.setattr(migrations, "__path__", [*migrations.__path__, str(tmp_path)])

    def add(source: str) -> str:
        (found,) = re.findall(r'^ID = "(.+)"$', source, re.MULTILINE)
        shipped[found] = f"m_{secrets.token_hex(8)}"
        (tmp_path / f"{shipped[found]}.py").write_text(source)
        return str(found)

    return add


def install(folder: Path, *sources: str) -> Path:
    """Make an installation of `idp` that has these migrations too: a folder for PYTHONPATH."""
    inner = folder / "idp" / "infra" / "db" / "migrations"
    inner.mkdir(parents=True)
    (folder / "templates").symlink_to(ROOT / "templates")
    for parent in (inner, *inner.parents[:3]):
        for entry in (ROOT / parent.relative_to(folder)).iterdir():
            if entry.name != "__pycache__" and not (parent / entry.name).exists():
                (parent / entry.name).symlink_to(entry)
    for number, source in enumerate(sources, 2):
        (inner / f"m{number:04}_test.py").write_text(source)
    return folder
