"""Revoking a token family, with its audit event."""

from collections.abc import Awaitable, Callable

from idp.audit.events import record
from idp.infra.db.engine import transaction
from idp.oauth.token.repository import RevokedFamily


async def revoke_family(revoke: Callable[[], Awaitable[RevokedFamily | None]], reason: str) -> RevokedFamily | None:
    """Run a revocation of :mod:`idp.oauth.token.repository` and record it, in one transaction.

    Returns:
        the family, if this call revoked it.
    """
    async with transaction():
        family = await revoke()
        if family is not None:
            await record(
                "token_family_revoked",
                user_id=family.user_id,
                client_id=family.client_id,
                session_id=family.session_id,
                detail={"reason": reason, "family_id": str(family.id)},
            )
    return family
