from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns.column_types import Text

from idp.db.engine import execute
from idp.ids import uuid7_text

ID = "2026-11-23T18:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "administration_indexes"

STATEMENTS = (
    # Each gets one of its own, before they must be different.
    "UPDATE resource_server SET jwks_id = gen_random_uuid()::text WHERE jwks_id = ''",
    # What the next checkpoint of the audit trail has to look at.
    "CREATE INDEX audit_event_without_seq ON audit_event (id) WHERE seq IS NULL",
    # Searching people by how their address or a name of theirs begins, whatever the database's collation.
    "CREATE INDEX users_email_prefix ON users (email text_pattern_ops)",
    "CREATE INDEX users_name_prefix ON users (lower(name) text_pattern_ops, id)",
    "CREATE INDEX users_family_name_prefix ON users (lower(family_name) text_pattern_ops, id)",
    # Lists in the order in which they are shown.
    "CREATE INDEX users_created_at ON users (created_at, id)",
    "CREATE INDEX audit_event_client ON audit_event (client_id, at, id)",
    "CREATE INDEX audit_event_event ON audit_event (event, at, id)",
    "CREATE INDEX mail_created_at ON mail (created_at, id)",
)


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="idp", description=DESCRIPTION)

    async def create_indexes():
        for statement in STATEMENTS:
            await execute(statement)

    manager.add_raw(create_indexes)
    manager.alter_column(
        table_class_name="ResourceServerRow",
        tablename="resource_server",
        column_name="jwks_id",
        db_column_name="jwks_id",
        params={"default": uuid7_text, "unique": True},
        old_params={"default": "", "unique": False},
        column_class=Text,
        old_column_class=Text,
        schema=None,
    )
    return manager
