"""Proving that somebody reads mail at an address: by typing a code from the mail, or by its link.

A code is short, so it counts only for the one who asked (``flow_id``: a sign-in flow, or a session), may be tried
:data:`TRIES` times, and is kept as an HMAC. A link is long and kept as a hash. Either ends the proof.
"""

import hmac
import secrets
from typing import NamedTuple
from uuid import UUID

import asyncpg

from idp import ids
from idp.accounts import typed
from idp.db.engine import execute, fetchrow, transaction
from idp.keys import vault

DIGITS = 6
TRIES = 5

_WITHDRAW = """
    UPDATE email_proof SET consumed_at = now()
    WHERE purpose = $1 AND consumed_at IS NULL AND (flow_id = $2 OR ($2::text IS NULL AND user_id = $3))
"""
_INSERT = """
    INSERT INTO email_proof (id, purpose, flow_id, user_id, email, code_hash, token_hash, tries, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, 0, now(), now() + make_interval(secs => $8))
"""
_LIVE = "consumed_at IS NULL AND expires_at > now()"
_WAITING = f"SELECT email FROM email_proof WHERE purpose = $1 AND flow_id = $2 AND {_LIVE}"  # noqa: S608
# One statement counts the try and takes the code: no two tries can be made at once.
_TRY = f"""
    UPDATE email_proof SET tries = tries + 1, consumed_at = CASE WHEN code_hash = $3 THEN now() END
    WHERE purpose = $1 AND flow_id = $2 AND {_LIVE} AND tries < {TRIES}
    RETURNING user_id, email, flow_id, consumed_at IS NOT NULL AS proved
"""  # noqa: S608
_BY_TOKEN = f"token_hash = $1 AND purpose = $2 AND ($3::text IS NULL OR flow_id = $3) AND {_LIVE}"
_PEEK = f"SELECT user_id, email, flow_id FROM email_proof WHERE {_BY_TOKEN}"  # noqa: S608
_TAKE = f"UPDATE email_proof SET consumed_at = now() WHERE {_BY_TOKEN} RETURNING user_id, email, flow_id"  # noqa: S608


class Sent(NamedTuple):
    """What the mail says. Neither is kept."""

    code: str
    token: str


class Proved(NamedTuple):
    """An address that was proved, the user whose it was when the mail was sent, and the flow that it was sent for."""

    user_id: UUID | None
    email: str
    flow_id: str | None

    @classmethod
    def of(cls, row: asyncpg.Record | None) -> "Proved | None":
        return cls(row["user_id"], row["email"], row["flow_id"]) if row is not None else None


def _code_hash(purpose: str, flow_id: str, code: str) -> bytes:
    return hmac.digest(vault.derive("one-time-code"), f"{purpose}\0{flow_id}\0{code}".encode(), "sha256")


async def prepare(
    purpose: str,
    email: str,
    *,
    lifetime: int,
    flow_id: str | None = None,
    user_id: UUID | None = None,
    void: bool = False,
) -> Sent:
    """Make a code and a link for a mail. Those made before for the same end no longer count.

    Args:
        purpose: what the proof may be used for.
        lifetime: in seconds.
        flow_id: who may type the code. Without it there is only the link, for whoever has it.
        void: neither will ever be accepted. For an address that nobody has: what the server does must not tell.
    """
    code = f"{secrets.randbelow(10**DIGITS):0{DIGITS}}"
    token = ids.random_token()
    code_hash = _code_hash(purpose, flow_id, code) if flow_id is not None and not void else None
    async with transaction():
        await execute(_WITHDRAW, purpose, flow_id, user_id)
        await execute(
            _INSERT, ids.uuid7(), purpose, flow_id, user_id, email, code_hash,
            None if void else ids.digest(token), lifetime,
        )  # fmt: skip
    return Sent(code, token)


async def waiting(purpose: str, flow_id: str) -> str | None:
    """The address to which a mail was sent for this flow, while its code can be used."""
    row = await fetchrow(_WAITING, purpose, flow_id)
    return row["email"] if row is not None else None


async def try_code(purpose: str, flow_id: str, code: str) -> Proved | None:
    """Use a code, once. A wrong one counts as a try, which the caller's transaction must keep."""
    row = await fetchrow(_TRY, purpose, flow_id, _code_hash(purpose, flow_id, typed.characters(code)))
    return Proved.of(row) if row is not None and row["proved"] else None


async def peek_token(token: str, purpose: str, flow_id: str | None = None) -> Proved | None:
    """What a link is for, without using it."""
    return Proved.of(await fetchrow(_PEEK, ids.digest(token), purpose, flow_id))


async def take_token(token: str, purpose: str, flow_id: str | None = None) -> Proved | None:
    """Use a link, once."""
    return Proved.of(await fetchrow(_TAKE, ids.digest(token), purpose, flow_id))
