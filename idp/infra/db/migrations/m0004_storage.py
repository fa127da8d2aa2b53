from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from idp.infra.db.engine import execute

ID = "2026-11-23T16:10:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "storage"

#: Tables whose rows come and go: cleaned up after 2 % of dead rows, not after 20 % of what may be many millions.
BUSY = "autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02"
#: Room on each page for the new version of a row, which then needs no new entry in any index.
ROOM = "fillfactor = 90"
SETTINGS = {
    "authorization_code": f"{BUSY}, {ROOM}",
    "refresh_token": f"{BUSY}, {ROOM}",
    "session": f"{BUSY}, {ROOM}",
    "signin_flow": f"{BUSY}, {ROOM}",
    "token_family": f"{BUSY}, {ROOM}",
    "throttle": BUSY,
    "revoked_access_token": BUSY,
}


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="idp", description=DESCRIPTION)

    async def change_settings():
        for table, settings in SETTINGS.items():
            await execute(f"ALTER TABLE {table} SET ({settings})")

    manager.add_raw(change_settings)
    return manager
