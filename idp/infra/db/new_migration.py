"""`make migration NAME=what_changes`: creates an empty migration (docs/migrations.md)."""

import re
import sys
from pathlib import Path

import idp.infra.db.migrations
from idp import clock

TEMPLATE = '''"""{title}."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine.finder import engine_finder

ID = "{id}"
VERSION = "1.38.0"
DESCRIPTION = "{name}"

#: One statement each. Statements that create an index on a table that can be large say CONCURRENTLY.
STATEMENTS = ()


async def forwards():
    # CREATE INDEX CONCURRENTLY needs wrap_in_transaction=False, and must be repeatable: docs/migrations.md.
    manager = MigrationManager(migration_id=ID, app_name="idp", description=DESCRIPTION, wrap_in_transaction=True)

    async def run():
        for statement in STATEMENTS:
            await engine_finder().run_ddl(statement)

    manager.add_raw(run)
    return manager
'''


def create(name: str, folder: Path) -> Path:
    """Write the migration that follows the newest one in a folder.

    Raises:
        ValueError: the name is not made of lower-case letters, digits and underscores.
    """
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise ValueError(f"{name!r} is not a name such as add_phone_number.")
    number = 1 + max((int(path.name[1:5]) for path in folder.glob("m[0-9][0-9][0-9][0-9]_*.py")), default=0)
    path = folder / f"m{number:04}_{name}.py"
    title = name.replace("_", " ").capitalize()
    now = clock.now().strftime("%Y-%m-%dT%H:%M:%S:%f")
    path.write_text(TEMPLATE.format(title=title, id=now, name=name), encoding="utf-8")
    return path


if __name__ == "__main__":
    (folder,) = map(Path, idp.infra.db.migrations.__path__)
    try:
        sys.stdout.write(f"Wrote {create(sys.argv[1], folder)}.\n")
    except ValueError as error:
        sys.exit(str(error))
