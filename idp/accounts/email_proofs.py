"""Email proofs verify that a user reads mail at an address, by a code or a link in a mail.

A code is short. It is valid only in the flow or session that requested it (``flow_id``), for :data:`TRIES` attempts,
and is stored as an HMAC. The token of a link is long and stored as a hash. Using either consumes the proof.

Unique indexes allow one live proof per purpose and flow, or per purpose and user if there is no flow. Callers act only
on the :class:`VerifiedEmail` that a proof returns, never on an address from elsewhere.
"""

import hmac
import secrets
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

import asyncpg

from idp import ids
from idp.accounts import typed_codes
from idp.infra.db.engine import execute, fetchrow
from idp.keys import vault

DIGITS = 6
TRIES = 5


class Purpose(StrEnum):
    """The operation that a proof allows."""

    SIGN_IN = "sign_in"
    REGISTRATION = "registration"
    #: Verifies the address of a user who signs in with an upstream provider.
    UPSTREAM = "upstream"
    EMAIL_CHANGE = "email_change"
    PASSWORD_RESET = "password_reset"
    #: Ends the lock of an account after wrong passwords.
    UNLOCK = "unlock"


# One statement, so that concurrent calls leave one live proof. The new id makes sure that a caller who read the old
# proof cannot consume the new one.
def _insert(one: str) -> str:
    """Return the statement that inserts a proof or replaces the live one with the same unique key."""
    return f"""
        INSERT INTO email_proof
            (id, purpose, flow_id, user_id, email, code_hash, token_hash, tries, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, 0, now(), now() + make_interval(secs => $8))
        ON CONFLICT {one} DO UPDATE SET
            id = EXCLUDED.id, user_id = EXCLUDED.user_id, email = EXCLUDED.email, code_hash = EXCLUDED.code_hash,
            token_hash = EXCLUDED.token_hash, tries = 0, created_at = now(), expires_at = EXCLUDED.expires_at
    """  # noqa: S608


_INSERT_OF_FLOW = _insert("(purpose, flow_id) WHERE consumed_at IS NULL AND flow_id IS NOT NULL")
_INSERT_OF_USER = _insert("(purpose, user_id) WHERE consumed_at IS NULL AND flow_id IS NULL")
_LIVE = "consumed_at IS NULL AND expires_at > now()"
_WAITING = f"SELECT email FROM email_proof WHERE purpose = $1 AND flow_id = $2 AND {_LIVE}"  # noqa: S608
# A wrong code is counted by the statement that compares it, so concurrent attempts cannot exceed the limit.
_TRY = f"""
    UPDATE email_proof SET tries = tries + CASE WHEN code_hash = $3 THEN 0 ELSE 1 END
    WHERE purpose = $1 AND flow_id = $2 AND {_LIVE} AND tries < {TRIES}
    RETURNING id, user_id, email, flow_id, coalesce(code_hash = $3, false) AS proved
"""  # noqa: S608
_BY_TOKEN = f"token_hash = $1 AND purpose = $2 AND ($3::text IS NULL OR flow_id = $3) AND {_LIVE}"
_PEEK = f"SELECT id, user_id, email, flow_id FROM email_proof WHERE {_BY_TOKEN}"  # noqa: S608
_TAKE = f"UPDATE email_proof SET consumed_at = now() WHERE id = $1 AND {_LIVE}"  # noqa: S608
_WITHDRAW_OF_USER = "UPDATE email_proof SET consumed_at = now() WHERE user_id = $1 AND consumed_at IS NULL"


class CodeAndToken(NamedTuple):
    """The secrets of a mail. They are not stored."""

    code: str
    token: str


class VerifiedEmail(NamedTuple):
    """A verified address, the user who had it when the mail was sent, and the flow of the mail.

    ``id`` identifies the proof for :func:`consume`.
    """

    id: UUID
    user_id: UUID | None
    email: str
    flow_id: str | None

    @classmethod
    def of(cls, row: asyncpg.Record | None) -> "VerifiedEmail | None":
        return cls(row["id"], row["user_id"], row["email"], row["flow_id"]) if row is not None else None


def _code_hash(purpose: Purpose, flow_id: str, code: str) -> bytes:
    return hmac.digest(vault.derive("one-time-code"), f"{purpose}\0{flow_id}\0{code}".encode(), "sha256")


async def create(
    purpose: Purpose,
    email: str,
    *,
    lifetime: int,
    flow_id: str | None = None,
    user_id: UUID | None = None,
    decoy: bool = False,
) -> CodeAndToken:
    """Create the code and the token of a mail. Earlier ones for the same purpose are replaced.

    Args:
        lifetime: in seconds.
        flow_id: the flow or session that may enter the code. None: only the link is valid, in any browser.
        user_id: the user who has the address. Required without ``flow_id``, unless it is a decoy.
        decoy: neither will be accepted. Used if no account has the address, to do the same work.
    """
    code = f"{secrets.randbelow(10**DIGITS):0{DIGITS}}"
    token = ids.random_token()
    code_hash = _code_hash(purpose, flow_id, code) if flow_id is not None and not decoy else None
    await execute(
        _INSERT_OF_USER if flow_id is None else _INSERT_OF_FLOW,
        ids.uuid7(), purpose, flow_id, user_id, email, code_hash, None if decoy else ids.digest(token), lifetime,
    )  # fmt: skip
    return CodeAndToken(code, token)


async def pending_email(purpose: Purpose, flow_id: str) -> str | None:
    """Return the address of the flow's live proof, for display only."""
    row = await fetchrow(_WAITING, purpose, flow_id)
    return row["email"] if row is not None else None


async def verify_code(purpose: Purpose, flow_id: str, code: str) -> VerifiedEmail | None:
    """Verify a code without consuming it. A wrong code is counted, so the caller must commit."""
    row = await fetchrow(_TRY, purpose, flow_id, _code_hash(purpose, flow_id, typed_codes.normalise_code(code)))
    return VerifiedEmail.of(row) if row is not None and row["proved"] else None


async def consume_code(purpose: Purpose, flow_id: str, code: str) -> VerifiedEmail | None:
    """Verify and consume a code. A wrong code is counted, so the caller must commit."""
    proved = await verify_code(purpose, flow_id, code)
    return proved if proved is not None and await consume(proved) else None


async def verify_token(token: str, purpose: Purpose, flow_id: str | None = None) -> VerifiedEmail | None:
    """Verify the token of a link without consuming it."""
    return VerifiedEmail.of(await fetchrow(_PEEK, ids.digest(token), purpose, flow_id))


async def consume_token(token: str, purpose: Purpose, flow_id: str | None = None) -> VerifiedEmail | None:
    """Verify and consume the token of a link."""
    proved = await verify_token(token, purpose, flow_id)
    return proved if proved is not None and await consume(proved) else None


async def consume(proved: VerifiedEmail) -> bool:
    """Consume a verified proof. Returns False if it was consumed or replaced meanwhile."""
    return bool(await execute(_TAKE, proved.id))


async def revoke_for_user(user_id: UUID) -> int:
    """Invalidate all live proofs of a user. Returns their number."""
    return await execute(_WITHDRAW_OF_USER, user_id)
