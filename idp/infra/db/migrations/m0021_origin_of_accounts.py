from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns.column_types import Text

ID = "2026-11-29T00:21:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "origin_of_accounts"


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="idp", description=DESCRIPTION)
    # Of those that are there already nobody knows who made them, so they are taken for the operator's.
    manager.add_column(
        table_class_name="User",
        tablename="users",
        column_name="origin",
        column_class_name="Text",
        column_class=Text,
        params={"default": "unknown", "null": False},
    )
    return manager
