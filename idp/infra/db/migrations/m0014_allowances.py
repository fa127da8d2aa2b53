from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns.column_types import Array, Boolean, Text
from piccolo.columns.indexes import IndexMethod

ID = "2026-11-29T00:14:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "allowances"

COMMON = {
    "null": False,
    "primary_key": False,
    "unique": False,
    "index": False,
    "index_method": IndexMethod.btree,
    "choices": None,
    "db_column_name": None,
    "secret": False,
}


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="idp", description=DESCRIPTION)
    for column in ("pairs", "claims"):
        manager.add_column(
            table_class_name="Consent",
            tablename="consent",
            column_name=column,
            db_column_name=column,
            column_class_name="Array",
            column_class=Array,
            params=COMMON | {"default": list, "base_column": Text(default="")},
            schema=None,
        )
    manager.add_column(
        table_class_name="ClientRow",
        tablename="client",
        column_name="scope_claims_in_id_token",
        db_column_name="scope_claims_in_id_token",
        column_class_name="Boolean",
        column_class=Boolean,
        params=COMMON | {"default": False},
        schema=None,
    )
    return manager
