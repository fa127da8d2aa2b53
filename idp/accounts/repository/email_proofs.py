"""The statements on email proofs."""

from datetime import datetime
from uuid import UUID

import msgspec

from idp import ids
from idp.accounts.tables import EmailProof
from idp.infra.db.engine import execute, fetchrow
from idp.infra.db.expiring import Expiring
from idp.infra.db.rows import one

EXPIRING = (Expiring(EmailProof, "1 hour"),)


# One statement, so that concurrent calls leave one live proof. The new id makes sure that a caller who read the old
# proof cannot consume the new one.
def _insert_proof(conflict: str) -> str:
    """Return the statement that inserts a proof or replaces the live one with the same unique key."""
    return f"""
        INSERT INTO email_proof
            (id, purpose, flow_id, user_id, email, code_hash, token_hash, tries, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, 0, now(), now() + make_interval(secs => $8))
        ON CONFLICT {conflict} DO UPDATE SET
            id = EXCLUDED.id, user_id = EXCLUDED.user_id, email = EXCLUDED.email, code_hash = EXCLUDED.code_hash,
            token_hash = EXCLUDED.token_hash, tries = 0, created_at = now(), expires_at = EXCLUDED.expires_at
    """  # noqa: S608


_INSERT_PROOF_OF_FLOW = _insert_proof("(purpose, flow_id) WHERE consumed_at IS NULL AND flow_id IS NOT NULL")
_INSERT_PROOF_OF_USER = _insert_proof("(purpose, user_id) WHERE consumed_at IS NULL AND flow_id IS NULL")
_LIVE = "consumed_at IS NULL AND expires_at > now()"
_OWNER_OF_CODE = f"""
    SELECT user_id AS id FROM email_proof WHERE purpose = $1 AND flow_id = $2 AND {_LIVE} AND tries < $3
"""  # noqa: S608
_PENDING_EMAIL = f"SELECT email FROM email_proof WHERE purpose = $1 AND flow_id = $2 AND {_LIVE}"  # noqa: S608
# A wrong code is counted by the statement that compares it, so concurrent attempts cannot exceed the limit.
_TRY_CODE = f"""
    UPDATE email_proof SET tries = tries + CASE WHEN code_hash = $3 THEN 0 ELSE 1 END
    WHERE purpose = $1 AND flow_id = $2 AND {_LIVE} AND tries < $4
    RETURNING id, user_id, email, flow_id, created_at, coalesce(code_hash = $3, false) AS correct
"""  # noqa: S608
_PROOF_BY_TOKEN = f"""
    SELECT id, user_id, email, flow_id, created_at FROM email_proof
    WHERE token_hash = $1 AND purpose = $2 AND ($3::text IS NULL OR flow_id = $3) AND {_LIVE}
"""  # noqa: S608
_FIRST_OF_SESSION = f"""
    SELECT min(created_at) AS at FROM email_proof
    WHERE purpose = $1 AND user_id = $2 AND split_part(flow_id, ' ', 1) = split_part($3, ' ', 1) AND {_LIVE}
"""  # noqa: S608
_CONSUME_PROOFS_OF_USER = """
    UPDATE email_proof SET consumed_at = now()
    WHERE user_id = $1 AND purpose IS DISTINCT FROM $2 AND consumed_at IS NULL
"""
_CONSUME_PROOF = f"UPDATE email_proof SET consumed_at = now() WHERE id = $1 AND {_LIVE}"  # noqa: S608


class VerifiedEmail(msgspec.Struct, frozen=True):
    """A verified address, the user who had it when the mail was sent, the flow of the mail, and its time.

    ``id`` identifies the proof for :func:`consume_proof`.
    """

    id: UUID
    user_id: UUID | None
    email: str
    flow_id: str | None
    created_at: datetime


async def insert_proof(
    purpose: str,
    email: str,
    *,
    flow_id: str | None,
    user_id: UUID | None,
    code_hash: bytes | None,
    token_hash: bytes | None,
    lifetime: int,
) -> None:
    """Insert a proof, or replace the live one of the same purpose and flow, or purpose and user.

    Args:
        lifetime: in seconds.
    """
    await execute(
        _INSERT_PROOF_OF_USER if flow_id is None else _INSERT_PROOF_OF_FLOW,
        ids.uuid7(), purpose, flow_id, user_id, email, code_hash, token_hash, lifetime,
    )  # fmt: skip


async def pending_email(purpose: str, flow_id: str) -> str | None:
    """Return the address of the flow's live proof."""
    row = await fetchrow(_PENDING_EMAIL, purpose, flow_id)
    return row["email"] if row is not None else None


async def owner_of_code(purpose: str, flow_id: str, max_tries: int) -> UUID | None:
    """Return the user of the flow's live proof whose code can be tried."""
    row = await fetchrow(_OWNER_OF_CODE, purpose, flow_id, max_tries)
    return row["id"] if row is not None else None


async def try_code(purpose: str, flow_id: str, code_hash: bytes, max_tries: int) -> VerifiedEmail | None:
    """Return the live proof if it has this code; otherwise count an attempt."""
    row = await fetchrow(_TRY_CODE, purpose, flow_id, code_hash, max_tries)
    return one(VerifiedEmail, row) if row is not None and row["correct"] else None


async def first_of_session(purpose: str, proved: VerifiedEmail) -> datetime:
    """Return the time of the first live proof of a purpose with the session of another one, or of that one itself."""
    row = await fetchrow(_FIRST_OF_SESSION, purpose, proved.user_id, proved.flow_id)
    return (row["at"] if row is not None else None) or proved.created_at


async def proof_by_token(token_hash: bytes, purpose: str, flow_id: str | None) -> VerifiedEmail | None:
    """Return the live proof of a token. None as ``flow_id``: of any flow."""
    return one(VerifiedEmail, await fetchrow(_PROOF_BY_TOKEN, token_hash, purpose, flow_id))


async def consume_proof(id: UUID) -> bool:
    """Consume a live proof. Returns False if it has been consumed or replaced, or has expired."""
    return bool(await execute(_CONSUME_PROOF, id))


async def consume_proofs_of_user(user_id: UUID, *, kept: str | None) -> int:
    """Consume all proofs of a user, except those of one purpose, if given. Returns their number."""
    return await execute(_CONSUME_PROOFS_OF_USER, user_id, kept)


async def consume_all_proofs() -> int:
    """Consume all proofs. Returns their number."""
    return await execute("UPDATE email_proof SET consumed_at = now() WHERE consumed_at IS NULL")
