"""Invitations: mailed permission to create an account. Using one verifies the address."""

from typing import NamedTuple
from uuid import UUID

import asyncpg

from idp import ids
from idp.accounts.addresses import normalise_email
from idp.accounts.tables import user_by_email
from idp.accounts.users import EmailTakenError
from idp.audit.events import record
from idp.infra.db.engine import execute, fetchrow, transaction
from idp.mail import outbox
from idp.settings import DAY, settings

_WITHDRAW = "UPDATE invitation SET consumed_at = now() WHERE email = $1 AND consumed_at IS NULL"
_INSERT = """
    INSERT INTO invitation (id, email, name, token_hash, created_at, expires_at)
    VALUES ($1, $2, $3, $4, now(), now() + make_interval(secs => $5))
"""
_PEEK = """
    SELECT id, email, name FROM invitation WHERE token_hash = $1 AND consumed_at IS NULL AND expires_at > now()
"""
_USE = """
    UPDATE invitation SET consumed_at = now() WHERE id = $1 AND consumed_at IS NULL AND expires_at > now()
    RETURNING email
"""


class PendingInvitation(NamedTuple):
    """An invitation that can be used."""

    id: UUID
    email: str
    name: str | None

    @classmethod
    def of(cls, row: asyncpg.Record | None) -> "PendingInvitation | None":
        return cls(row["id"], row["email"], row["name"]) if row is not None else None


def invitation_url(token: str) -> str:
    return f"{settings().issuer}/invitation?token={token}"


async def invite(email: str, name: str | None = None) -> str:
    """Mail an invitation. An earlier invitation to the same address is revoked.

    Returns:
        the link that the mail contains.

    Raises:
        InvalidEmailError: the address is not valid.
        EmailTakenError: a user has the address.
    """
    email = normalise_email(email)
    if await user_by_email(email) is not None:
        raise EmailTakenError
    token, lifetime = ids.random_token(), settings().invitation_lifetime
    async with transaction():
        await execute(_WITHDRAW, email)
        await execute(_INSERT, ids.uuid7(), email, name, ids.digest(token), lifetime)
        await outbox.queue(
            email, "invitation", lifetime=lifetime, name=name, link=invitation_url(token), days=max(1, lifetime // DAY)
        )
        await record("user_invited")
    return invitation_url(token)


async def find_pending(token: str) -> PendingInvitation | None:
    """Return the invitation of a token, if it can be used."""
    return PendingInvitation.of(await fetchrow(_PEEK, ids.digest(token)))


async def consume(invitation_id: UUID) -> str | None:
    """Consume an invitation, in the transaction that creates the account.

    Returns:
        the verified address; None if the invitation cannot be used.
    """
    row = await fetchrow(_USE, invitation_id)
    return row["email"] if row is not None else None
