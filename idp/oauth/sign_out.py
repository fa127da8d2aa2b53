"""Ending all that a user's sign-ins gave, or all that was issued to a client."""

from collections import Counter
from uuid import UUID

from idp.audit.events import record
from idp.infra.db.engine import execute, transaction
from idp.signin import devices
from idp.signin import flow as flows

# Sessions first, then codes: a code that is made at the same moment either finds its session ended, or is waited for
# and seen. Families last: a redemption either finds its code consumed, or is waited for, and its family is seen.
_END_CODES_OF_USER = "UPDATE authorization_code SET consumed_at = now() WHERE user_id = $1 AND consumed_at IS NULL"
_END_SESSIONS = "UPDATE session SET ended_at = now() WHERE user_id = $1 AND ended_at IS NULL"
_REVOKE_FAMILIES_OF_USER = """
UPDATE token_family SET revoked_at = now(), revoked_reason = $2 WHERE user_id = $1 AND revoked_at IS NULL
"""
_END_SESSION = "UPDATE session SET ended_at = now() WHERE id = $1 AND user_id = $2 AND ended_at IS NULL"
_END_CODES_OF_SESSION = (
    "UPDATE authorization_code SET consumed_at = now() WHERE session_id = $1 AND consumed_at IS NULL"
)
_REVOKE_FAMILIES_OF_SESSION = """
UPDATE token_family SET revoked_at = now(), revoked_reason = $2 WHERE session_id = $1 AND revoked_at IS NULL
"""
_END_CODES_OF_CLIENT = "UPDATE authorization_code SET consumed_at = now() WHERE client_id = $1 AND consumed_at IS NULL"
_REVOKE_FAMILIES_OF_CLIENT = """
UPDATE token_family SET revoked_at = now(), revoked_reason = $2 WHERE client_id = $1 AND revoked_at IS NULL
"""


async def sign_out_user(user_id: UUID, reason: str) -> Counter[str]:
    """End a user's sessions, unfinished sign-ins and every token family, offline access included, and trust no browser
    of theirs any more. In the caller's transaction.

    Returns:
        how many of each were ended.
    """
    await flows.cancel_flows(user_id)
    await devices.distrust_all(user_id)
    ended = Counter[str]()
    ended["sessions"] = await execute(_END_SESSIONS, user_id)
    ended["codes"] = await execute(_END_CODES_OF_USER, user_id)
    ended["token_families"] = await execute(_REVOKE_FAMILIES_OF_USER, user_id, reason)
    return ended


async def sign_out_everywhere(user_id: UUID, reason: str) -> None:
    """As :func:`sign_out_user`, in a transaction with its audit event."""
    async with transaction():
        await sign_out_user(user_id, reason)
        await record("signed_out_everywhere", user_id=user_id)


async def end_session(session_id: UUID, user_id: UUID, reason: str) -> bool:
    """Sign out one browser of a user, with what was issued there. Returns whether this call did it."""
    async with transaction():
        if not await execute(_END_SESSION, session_id, user_id):
            return False
        await revoke_families_of_session(session_id, reason)
        await record("sign_out", user_id=user_id, session_id=session_id)
    return True


async def revoke_families_of_session(session_id: UUID, reason: str) -> None:
    """Revoke what was issued by one session, offline access included. In the caller's transaction."""
    await execute(_END_CODES_OF_SESSION, session_id)
    await execute(_REVOKE_FAMILIES_OF_SESSION, session_id, reason)


async def revoke_tokens_of_client(client_id: str, reason: str) -> Counter[str]:
    """Revoke every token family of a client. In the caller's transaction. Returns how many of each were ended."""
    ended = Counter[str]()
    ended["codes"] = await execute(_END_CODES_OF_CLIENT, client_id)
    ended["token_families"] = await execute(_REVOKE_FAMILIES_OF_CLIENT, client_id, reason)
    return ended
