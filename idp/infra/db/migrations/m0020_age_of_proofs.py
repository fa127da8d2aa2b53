from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns.column_types import BigInt, Integer

ID = "2026-11-29T00:20:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "age_of_proofs"


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="idp", description=DESCRIPTION)
    manager.add_column(
        table_class_name="Flow",
        tablename="signin_flow",
        column_name="max_age",
        column_class_name="BigInt",
        column_class=BigInt,
        params={"default": None, "null": True},
    )
    # What is there already was proved when it began, as it says.
    for table_class_name, tablename in (("AuthorizationCode", "authorization_code"), ("TokenFamily", "token_family")):
        manager.add_column(
            table_class_name=table_class_name,
            tablename=tablename,
            column_name="auth_age",
            column_class_name="Integer",
            column_class=Integer,
            params={"default": 0, "null": True},
        )
    return manager
