from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns.column_types import UUID, Text
from piccolo.columns.indexes import IndexMethod

from idp.infra.db.engine import execute

ID = "2026-11-29T00:10:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "one_live_proof"

STATEMENTS = (
    # Mails of administrators shared the flow "". Their links go on; their codes never counted.
    "UPDATE email_proof SET flow_id = NULL, code_hash = NULL WHERE flow_id = ''",
    "UPDATE email_proof SET token_hash = NULL WHERE flow_id IS NULL AND user_id IS NULL",
    # Of several that are live for the same end, the newest counts.
    """
    UPDATE email_proof AS old SET consumed_at = now() FROM email_proof AS new
    WHERE old.consumed_at IS NULL AND new.consumed_at IS NULL AND old.purpose = new.purpose AND old.id < new.id
      AND (old.flow_id = new.flow_id OR (old.flow_id IS NULL AND new.flow_id IS NULL AND old.user_id = new.user_id))
    """,
    """
    CREATE UNIQUE INDEX email_proof_one_of_flow ON email_proof (purpose, flow_id)
    WHERE consumed_at IS NULL AND flow_id IS NOT NULL
    """,
    """
    CREATE UNIQUE INDEX email_proof_one_of_user ON email_proof (purpose, user_id)
    WHERE consumed_at IS NULL AND flow_id IS NULL
    """,
    # A code is typed in its flow. A link leads to a user, or into a flow.
    """
    ALTER TABLE email_proof
        ADD CONSTRAINT email_proof_flow CHECK (flow_id <> ''),
        ADD CONSTRAINT email_proof_code CHECK (code_hash IS NULL OR flow_id IS NOT NULL),
        ADD CONSTRAINT email_proof_link CHECK (token_hash IS NULL OR flow_id IS NOT NULL OR user_id IS NOT NULL)
    """,
)


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="idp", description=DESCRIPTION)

    async def one_live_proof():
        for statement in STATEMENTS:
            await execute(statement)

    manager.add_raw(one_live_proof)
    for table_class, table, column, column_class in (
        ("Totp", "totp", "holder", Text),
        ("Flow", "signin_flow", "required_acr", Text),
        ("AuthorizationRequestRow", "authorization_request", "consented_by", UUID),
    ):
        manager.add_column(
            table_class_name=table_class,
            tablename=table,
            column_name=column,
            db_column_name=column,
            column_class_name=column_class.__name__,
            column_class=column_class,
            params={
                "default": None,
                "null": True,
                "primary_key": False,
                "unique": False,
                "index": False,
                "index_method": IndexMethod.btree,
                "choices": None,
                "db_column_name": None,
                "secret": False,
            },
            schema=None,
        )
    return manager
