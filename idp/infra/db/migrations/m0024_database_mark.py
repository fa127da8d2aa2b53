from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns.column_types import BigInt, SmallInt, Timestamptz
from piccolo.columns.defaults.timestamptz import TimestamptzNow
from piccolo.columns.indexes import IndexMethod

ID = "2026-11-29T00:24:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "database_mark"

TABLE = {"table_class_name": "DatabaseMark", "tablename": "database_mark", "schema": None}
PARAMS = {
    "null": False,
    "primary_key": False,
    "unique": False,
    "index": False,
    "index_method": IndexMethod.btree,
    "choices": None,
    "db_column_name": None,
    "secret": False,
}
COLUMNS = (
    ("id", SmallInt, {"default": 1, "primary_key": True}),
    ("epoch", BigInt, {"default": 0}),
    ("number", BigInt, {"default": 0}),
    ("at", Timestamptz, {"default": TimestamptzNow()}),
    ("restored_at", Timestamptz, {"default": None, "null": True}),
)


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="idp", description=DESCRIPTION)
    manager.add_table(class_name="DatabaseMark", tablename="database_mark", schema=None, columns=None)
    for name, column_class, params in COLUMNS:
        manager.add_column(
            **TABLE,
            column_name=name,
            db_column_name=name,
            column_class_name=column_class.__name__,
            column_class=column_class,
            params=PARAMS | params,
        )
    return manager
