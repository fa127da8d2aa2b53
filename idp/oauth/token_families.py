"""Revoking a token family, and saying why."""

import asyncpg

from idp.audit.events import record
from idp.infra.db.engine import fetchrow, transaction


async def revoke_family(statement: str, *arguments: object, reason: str) -> asyncpg.Record | None:
    """Run one of the revoking statements of :mod:`idp.oauth.statements`.

    Returns:
        the family, if this call revoked it.
    """
    async with transaction():
        family = await fetchrow(statement, *arguments)
        if family is not None:
            await record(
                "token_family_revoked",
                user_id=family["user_id"],
                client_id=family["client_id"],
                session_id=family["session_id"],
                detail={"reason": reason, "family_id": str(family["id"])},
            )
    return family
