"""Creates every table: the statements are in m0001_first_schema.sql."""

from pathlib import Path

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine.finder import engine_finder

ID = "2026-12-05T16:30:12:318840"
VERSION = "1.38.0"
DESCRIPTION = "first_schema"

SQL = Path(__file__).with_suffix(".sql")


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="idp", description=DESCRIPTION)

    async def create_everything():
        # Piccolo sends one statement at a time. A DO block runs the whole file as one.
        await engine_finder().run_ddl(f"DO $schema$ BEGIN\n{SQL.read_text(encoding='utf-8')}\nEND $schema$")

    manager.add_raw(create_everything)
    return manager
