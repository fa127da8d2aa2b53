from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from idp.infra.db.engine import execute

ID = "2026-11-28T17:30:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "signin_flow_session"

# The clean-up deletes sessions, and with each the flows that carry it on, which it would read the whole table for.
STATEMENT = "CREATE INDEX signin_flow_session ON signin_flow (session_id) WHERE session_id IS NOT NULL"


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="idp", description=DESCRIPTION)

    async def create_index():
        await execute(STATEMENT)

    manager.add_raw(create_index)
    return manager
