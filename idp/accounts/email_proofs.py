"""Email proofs verify that a user reads mail at an address, by a code or a link in a mail.

A code is short. It is valid only in the flow or session that requested it (``flow_id``), for :data:`TRIES` attempts,
and is stored as an HMAC. The token of a link is long and stored as a hash. Using either consumes the proof. The code
follows from the token, so that a link which is opened in another browser can show it.

Unique indexes allow one live proof per purpose and flow, or per purpose and user if there is no flow. Callers act only
on the :class:`VerifiedEmail` that a proof returns, never on an address from elsewhere.
"""

import hmac
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from idp import ids
from idp.accounts import typed_codes
from idp.accounts.repository import email_proofs, users
from idp.accounts.repository.email_proofs import VerifiedEmail
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
    #: Signs a user out everywhere after a sign-in that was not theirs. ``flow_id`` begins with the session of that
    #: sign-in and a space: each sign-in in it has a link of its own.
    NEW_BROWSER = "new_browser"


class CodeAndToken(NamedTuple):
    """The secrets of a mail. They are not stored."""

    code: str
    token: str


def _code_of(token: str) -> str:
    number = int.from_bytes(hmac.digest(vault.derive("code-of-link"), token.encode(), "sha256"))
    return f"{number % 10**DIGITS:0{DIGITS}}"


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
    token = ids.random_token()
    code = _code_of(token)
    code_hash = _code_hash(purpose, flow_id, code) if flow_id is not None and not decoy else None
    await email_proofs.insert_proof(
        purpose,
        email,
        flow_id=flow_id,
        user_id=user_id,
        code_hash=code_hash,
        token_hash=None if decoy else ids.digest(token),
        lifetime=lifetime,
    )
    return CodeAndToken(code, token)


async def pending_email(purpose: Purpose, flow_id: str) -> str | None:
    """Return the address of the flow's live proof, for display only."""
    return await email_proofs.pending_email(purpose, flow_id)


async def verify_code(purpose: Purpose, flow_id: str, code: str) -> VerifiedEmail | None:
    """Verify a code without consuming it. A wrong code is counted, so the caller must commit."""
    code_hash = _code_hash(purpose, flow_id, typed_codes.normalise_code(code))
    return await email_proofs.try_code(purpose, flow_id, code_hash, TRIES)


async def consume_code(purpose: Purpose, flow_id: str, code: str, *, lock: bool = False) -> VerifiedEmail | None:
    """Verify and consume a code. A wrong code is counted, so the caller must commit.

    Args:
        lock: lock the user first, in the caller's transaction. Every change of a credential locks its user and then
            consumes their proofs: the other order would deadlock with it. False if the user is locked already.
    """
    if lock:
        # A decoy runs the same statements. Without a code that can be tried, nothing is written: neither the lock nor
        # the attempt. Otherwise the commit would take longer for a known address.
        await users.lock_user(await email_proofs.owner_of_code(purpose, flow_id, TRIES) or ids.uuid7())
    proved = await verify_code(purpose, flow_id, code)
    return proved if proved is not None and await consume(proved) else None


async def verify_token(token: str, purpose: Purpose, flow_id: str | None = None) -> VerifiedEmail | None:
    """Verify the token of a link without consuming it."""
    return await email_proofs.proof_by_token(ids.digest(token), purpose, flow_id)


async def code_of_link(token: str, purpose: Purpose, flow_id: str | None = None) -> str | None:
    """Return the code of the mail with this link; None if the link is not valid. The mail has both."""
    return _code_of(token) if await verify_token(token, purpose, flow_id) is not None else None


async def consume_token(
    token: str, purpose: Purpose, flow_id: str | None = None, *, lock: bool = False
) -> VerifiedEmail | None:
    """Verify and consume the token of a link.

    Args:
        lock: lock the user first, as :func:`consume_code` does. A wrong token locks nothing.
    """
    proved = await verify_token(token, purpose, flow_id)
    if lock and proved is not None and proved.user_id is not None:
        await users.lock_user(proved.user_id)
    return proved if proved is not None and await consume(proved) else None


async def first_of_session(proved: VerifiedEmail) -> datetime:
    """Return the time of the first live :attr:`Purpose.NEW_BROWSER` of the session of another one."""
    return await email_proofs.first_of_session(Purpose.NEW_BROWSER, proved)


async def consume(proved: VerifiedEmail) -> bool:
    """Consume a verified proof. Returns False if it has been consumed or replaced."""
    return await email_proofs.consume_proof(proved.id)


async def revoke_for_user(user_id: UUID, *, kept: Purpose | None = Purpose.NEW_BROWSER) -> int:
    """Invalidate the live proofs of a user, before a change of a credential. Returns their number.

    Args:
        kept: those that stay. The link "This wasn't me" does: the change may be that of the intruder.
    """
    return await email_proofs.consume_proofs_of_user(user_id, kept=kept)
