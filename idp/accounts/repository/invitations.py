"""The statements on invitations."""

from uuid import UUID

import msgspec

from idp import ids
from idp.accounts.tables import Invitation
from idp.infra.db.engine import execute, fetchrow
from idp.infra.db.expiring import Expiring
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import one

EXPIRING = (Expiring(Invitation, "30 days"),)

_INSERT_INVITATION = """
    INSERT INTO invitation (id, email, name, token_hash, created_at, expires_at)
    VALUES ($1, $2, $3, $4, now(), now() + make_interval(secs => $5))
"""
_LIVE = "consumed_at IS NULL AND expires_at > now()"
_FIND_INVITATION = f"SELECT id, email, name FROM invitation WHERE token_hash = $1 AND {_LIVE}"  # noqa: S608
_CONSUME_INVITATION = f"UPDATE invitation SET consumed_at = now() WHERE id = $1 AND {_LIVE} RETURNING email"  # noqa: S608
_REVOKE_INVITATIONS = "UPDATE invitation SET consumed_at = now() WHERE email = $1 AND consumed_at IS NULL"
_REVOKE_INVITATION = f"UPDATE invitation SET consumed_at = now() WHERE id = $1 AND {_LIVE} RETURNING email"  # noqa: S608
# Also one that has expired, as long as its row is kept. The link of the mail before ends.
_RENEW_INVITATION = """
    UPDATE invitation SET token_hash = $2, expires_at = now() + make_interval(secs => $3)
    WHERE id = $1 AND consumed_at IS NULL RETURNING id, email, name
"""
_REVOKE_INVITATIONS_OF_USER = """
    UPDATE invitation SET consumed_at = now()
    WHERE consumed_at IS NULL AND email = (SELECT email FROM users WHERE id = $1)
"""


class PendingInvitation(msgspec.Struct, frozen=True):
    """An invitation that can be used."""

    id: UUID
    email: str
    name: str | None


async def insert_invitation(email: str, name: str | None, token_hash: bytes, lifetime: int) -> UUID:
    """Insert an invitation that is valid for so many seconds. Returns its id."""
    invitation_id = ids.uuid7()
    await execute(_INSERT_INVITATION, invitation_id, email, name, token_hash, lifetime)
    return invitation_id


async def find_invitation(token_hash: bytes) -> PendingInvitation | None:
    """Return the invitation of a token, if it can be used."""
    return one(PendingInvitation, await fetchrow(_FIND_INVITATION, token_hash))


async def consume_invitation(id: UUID) -> str | None:
    """Consume an invitation. Returns its address, or None if it cannot be used."""
    row = await fetchrow(_CONSUME_INVITATION, id)
    return str(row["email"]) if row is not None else None


async def revoke_invitation(id: UUID) -> str | None:
    """Revoke an invitation. Returns its address, or None if it cannot be used."""
    row = await fetchrow(_REVOKE_INVITATION, id)
    return str(row["email"]) if row is not None else None


async def renew_invitation(id: UUID, token_hash: bytes, lifetime: int) -> PendingInvitation | None:
    """Replace the token of an invitation that was neither used nor revoked, and begin its lifetime again."""
    return one(PendingInvitation, await fetchrow(_RENEW_INVITATION, id, token_hash, lifetime))


async def revoke_invitations(email: str) -> int:
    """Revoke the invitations to an address. Returns their number."""
    return await execute(_REVOKE_INVITATIONS, email)


async def revoke_invitations_of_user(user_id: UUID) -> int:
    """Revoke the invitations to the address of a user. Returns their number."""
    return await execute(_REVOKE_INVITATIONS_OF_USER, user_id)


async def revoke_all_invitations() -> int:
    """Revoke all invitations. Returns their number."""
    return await execute("UPDATE invitation SET consumed_at = now() WHERE consumed_at IS NULL")


#: Invitations that were neither used nor revoked, for administrators.
INVITATIONS = Listing(
    source="invitation AS i",
    columns="i.id, i.email, i.name, i.created_at, i.expires_at, i.expires_at <= now() AS expired",
    where="i.consumed_at IS NULL",
    key=Sort("i.id", "uuid"),
    sorts={"created_at": Sort("i.created_at")},
    default_sort="-created_at",
    filters={
        "id": Filter("i.id = {}", "uuid", "One invitation."),
        "email": Filter("i.email = lower({})", help="To this address."),
    },
)
