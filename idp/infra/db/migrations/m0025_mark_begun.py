from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns.column_types import BigInt

ID = "2026-11-29T00:25:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "mark_begun"


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="idp", description=DESCRIPTION)
    manager.add_column(
        table_class_name="DatabaseMark",
        tablename="database_mark",
        column_name="begun",
        db_column_name="begun",
        column_class_name="BigInt",
        column_class=BigInt,
        params={"default": 0, "null": False},
        schema=None,
    )
    return manager
