from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns.column_types import Text

from idp.infra.db.engine import execute
from idp.ids import uuid7_text

ID = "2026-11-23T18:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "administration_indexes"

#: Built before the rest, while others write.
INDEXES = {
    # What the next checkpoint of the audit trail has to look at.
    "audit_event_without_seq": "ON audit_event (id) WHERE seq IS NULL",
    # Searching people by how their address or a name of theirs begins, whatever the database's collation.
    "users_email_prefix": "ON users (email text_pattern_ops)",
    "users_name_prefix": "ON users (lower(name) text_pattern_ops, id)",
    "users_family_name_prefix": "ON users (lower(family_name) text_pattern_ops, id)",
    # Lists in the order in which they are shown.
    "users_created_at": "ON users (created_at, id)",
    "audit_event_client": "ON audit_event (client_id, at, id)",
    "audit_event_event": "ON audit_event (event, at, id)",
    "mail_created_at": "ON mail (created_at, id)",
}
# Each gets one of its own, before they must be different.
IDENTIFIERS = "UPDATE resource_server SET jwks_id = gen_random_uuid()::text WHERE jwks_id = ''"


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="idp", description=DESCRIPTION)

    async def give_identifiers():
        await execute(IDENTIFIERS)

    manager.add_raw(give_identifiers)
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
