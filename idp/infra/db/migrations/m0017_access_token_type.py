from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns.column_types import Text

ID = "2026-11-29T00:17:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "access_token_type"


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="idp", description=DESCRIPTION)
    manager.add_column(
        table_class_name="ResourceServerRow",
        tablename="resource_server",
        column_name="access_token_type",
        db_column_name="access_token_type",
        column_class_name="Text",
        column_class=Text,
        params={"default": "at+jwt", "null": False},
        schema=None,
    )
    return manager
