"""The schema of the database, against that of this version."""

import asyncpg

from idp.doctor.models import Context, Findings, error, ok, warning
from idp.errors import OperatorError
from idp.infra.db import migrate


async def check(context: Context) -> Findings:
    """Look for migrations that are not applied, and for those of another version."""
    try:
        pending = await migrate.pending()
    except (OperatorError, asyncpg.InsufficientPrivilegeError) as failure:
        text = failure.description if isinstance(failure, OperatorError) else "The role may not read the migrations."
        yield error("schema_unknown", text, "Use the version of idp that made this database, or the right database.")
        return
    if not pending:
        yield ok("Every migration is applied.")
    elif context.settings.migrate_on_start:
        yield warning(
            "migrations_pending",
            f"{len(pending)} migrations are not applied.",
            "Start the server, which applies them, or run: idp db upgrade",
        )
    else:
        yield error(
            "migrations_pending",
            f"{len(pending)} migrations are not applied, and IDP_MIGRATE_ON_START is off: the server does not start.",
            "Run: idp db upgrade",
        )
