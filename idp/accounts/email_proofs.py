"""Proving that somebody reads mail at an address: by typing a code from the mail, or by its link.

A code is short, so it counts only for the one who asked (``flow_id``: a sign-in flow, or a session), may be tried
:data:`TRIES` times, and is kept as an HMAC. A link is long and kept as a hash. Either ends the proof.

A flow has one live proof for each purpose, and so has a user without a flow: the index says so, not the code. What
was proved is in :class:`VerifiedEmail`, and callers act on that alone, never on what they keep beside it.
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
    """What a proof may be used for."""

    SIGN_IN = "sign_in"
    REGISTRATION = "registration"
    #: The address of somebody who came back from an upstream provider.
    UPSTREAM = "upstream"
    EMAIL_CHANGE = "email_change"
    PASSWORD_RESET = "password_reset"
    #: Lifts the lock that wrong passwords brought on an account.
    UNLOCK = "unlock"


# One statement, so that two at once leave one live proof. The new id makes sure that nobody uses the new proof who
# has only seen the one before.
def _insert(one: str) -> str:
    """The statement that makes a proof, or replaces the live one that the unique index ``one`` finds."""
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
# A wrong code counts in the statement that looks at it: no two tries can be made at once.
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
    """What the mail says. Neither is kept."""

    code: str
    token: str


class VerifiedEmail(NamedTuple):
    """An address that was proved, the user whose it was when the mail was sent, and the flow that it was sent for.

    ``id`` names this very proof, for :func:`consume`.
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
    """Make a code and a link for a mail. Those made before for the same end no longer count.

    Args:
        lifetime: in seconds.
        flow_id: who may type the code. Without it there is only the link, for whoever has it.
        user_id: whose address it is. Without ``flow_id`` there must be one, or the proof is void.
        void: neither will ever be accepted. For an address that nobody has: what the server does must not tell.
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
    """The address to which a mail was sent for this flow, while its code can be used. To be shown, not to act on."""
    row = await fetchrow(_WAITING, purpose, flow_id)
    return row["email"] if row is not None else None


async def verify_code(purpose: Purpose, flow_id: str, code: str) -> VerifiedEmail | None:
    """What a code proves, without using it. A wrong one counts as a try, which the caller's transaction must keep."""
    row = await fetchrow(_TRY, purpose, flow_id, _code_hash(purpose, flow_id, typed_codes.normalise_code(code)))
    return VerifiedEmail.of(row) if row is not None and row["proved"] else None


async def consume_code(purpose: Purpose, flow_id: str, code: str) -> VerifiedEmail | None:
    """Use a code, once. A wrong one counts as a try, which the caller's transaction must keep."""
    proved = await verify_code(purpose, flow_id, code)
    return proved if proved is not None and await consume(proved) else None


async def verify_token(token: str, purpose: Purpose, flow_id: str | None = None) -> VerifiedEmail | None:
    """What a link is for, without using it."""
    return VerifiedEmail.of(await fetchrow(_PEEK, ids.digest(token), purpose, flow_id))


async def consume_token(token: str, purpose: Purpose, flow_id: str | None = None) -> VerifiedEmail | None:
    """Use a link, once."""
    proved = await verify_token(token, purpose, flow_id)
    return proved if proved is not None and await consume(proved) else None


async def consume(proved: VerifiedEmail) -> bool:
    """Use a proof that was looked at, once. Returns whether this call did; not where another took its place."""
    return bool(await execute(_TAKE, proved.id))


async def revoke_for_user(user_id: UUID) -> int:
    """Let no mail that was sent for a user lead anywhere any more. Returns how many there were."""
    return await execute(_WITHDRAW_OF_USER, user_id)
