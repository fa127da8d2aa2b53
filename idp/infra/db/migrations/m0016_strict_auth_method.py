from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns.column_types import Boolean

ID = "2026-11-29T00:16:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "strict_auth_method"


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="idp", description=DESCRIPTION)
    manager.add_column(
        table_class_name="ClientRow",
        tablename="client",
        column_name="strict_auth_method",
        db_column_name="strict_auth_method",
        column_class_name="Boolean",
        column_class=Boolean,
        params={"default": False, "null": False},
        schema=None,
    )
    return manager
