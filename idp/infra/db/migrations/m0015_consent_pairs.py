from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from idp.infra.db.engine import execute

ID = "2026-11-29T00:15:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "consent_pairs"

STATEMENTS = (
    # Which scope was allowed at which resource is not known any more, so that only what holds here is kept: the
    # standard scopes, and the others where no resource was ever named. The person is asked again for the rest.
    """
    UPDATE consent SET pairs = ARRAY(
        SELECT name FROM unnest(scope) AS name
        WHERE resource = '{}' OR name IN ('openid', 'profile', 'email', 'address', 'phone', 'offline_access'))
    """,
    # Nobody was asked for claims by name. Where nobody has to be, they stay.
    """
    UPDATE token_family AS f SET claims = NULL FROM client AS c
    WHERE c.client_id = f.client_id AND f.claims IS NOT NULL AND NOT c.skip_consent
    """,
    """
    UPDATE authorization_code AS a SET claims = NULL FROM client AS c
    WHERE c.client_id = a.client_id AND a.claims IS NOT NULL AND NOT c.skip_consent
    """,
)


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="idp", description=DESCRIPTION)

    async def convert():
        for statement in STATEMENTS:
            await execute(statement)

    manager.add_raw(convert)
    return manager
