from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns.column_types import Bytea
from piccolo.columns.indexes import IndexMethod

ID = "2026-11-29T00:12:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "kept_form"


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="idp", description=DESCRIPTION)
    manager.add_column(
        table_class_name="Flow",
        tablename="signin_flow",
        column_name="kept_form",
        db_column_name="kept_form",
        column_class_name="Bytea",
        column_class=Bytea,
        params={
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": True,
            "default": None,
        },
        schema=None,
    )
    return manager
