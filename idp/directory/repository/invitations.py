"""The statements on invitations into organizations."""

from collections.abc import Collection, Sequence
from uuid import UUID

from idp import ids
from idp.directory.models import Invitation, InvitationState, Offer
from idp.directory.tables import OrganizationInvitation
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.expiring import Expiring
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import many, one

EXPIRING = (Expiring(OrganizationInvitation, "30 days"),)

_STATE = f"""
CASE WHEN i.outcome IS NOT NULL THEN i.outcome WHEN i.expires_at > now() THEN '{InvitationState.OPEN}'
     ELSE '{InvitationState.EXPIRED}' END
"""
_COLUMNS = f"""
i.id, i.organization_id, i.email, i.role_ids, i.admin, i.invited_by, i.user_id, {_STATE} AS state, i.created_at,
i.sent_at, i.expires_at, i.ended_at
"""
_OPEN = "i.ended_at IS NULL AND i.expires_at > now()"
# $1 id  $2 organization_id  $3 email  $4 role_ids  $5 admin  $6 token_hash  $7 invited_by  $8 seconds  $9 maximum
_INSERT = f"""
INSERT INTO organization_invitation AS i
    (id, organization_id, email, role_ids, admin, token_hash, invited_by, created_at, sent_at, expires_at)
SELECT $1, $2, $3, $4, $5, $6, $7, now(), now(), now() + make_interval(secs => $8)
WHERE (SELECT count(*) FROM organization_invitation WHERE organization_id = $2 AND ended_at IS NULL) < $9
ON CONFLICT (organization_id, email) WHERE ended_at IS NULL DO NOTHING RETURNING {_COLUMNS}
"""  # noqa: S608
# Another invitation takes the place of one that has expired.
_REPLACE_EXPIRED = f"""
UPDATE organization_invitation SET outcome = '{InvitationState.EXPIRED}', ended_at = now()
WHERE organization_id = $1 AND email = $2 AND ended_at IS NULL AND expires_at <= now()
"""  # noqa: S608
_BY_ID = f"SELECT {_COLUMNS} FROM organization_invitation AS i WHERE i.id = $1 AND i.organization_id = $2"  # noqa: S608
_OPEN_OF_EMAIL = f"""
SELECT {_COLUMNS} FROM organization_invitation AS i
WHERE i.organization_id = $1 AND i.email = $2 AND i.ended_at IS NULL
"""  # noqa: S608
# $1 id  $2 organization_id  $3 token_hash  $4 seconds
_RENEW = f"""
UPDATE organization_invitation AS i
SET token_hash = coalesce($3, token_hash), sent_at = now(), expires_at = now() + make_interval(secs => $4)
WHERE i.id = $1 AND i.organization_id = $2 AND i.ended_at IS NULL RETURNING {_COLUMNS}
"""  # noqa: S608
_REVOKE = f"""
UPDATE organization_invitation AS i SET outcome = '{InvitationState.REVOKED}', ended_at = now()
WHERE i.id = $1 AND i.organization_id = $2 AND i.ended_at IS NULL RETURNING {_COLUMNS}
"""  # noqa: S608
_REVOKE_ALL = (
    f"UPDATE organization_invitation SET outcome = '{InvitationState.REVOKED}', ended_at = now() WHERE ended_at IS NULL"  # noqa: S608
)
# Those to the address of the user, and those that the user sent.
_REVOKE_OF_USER = f"{_REVOKE_ALL} AND (invited_by = $1 OR email = (SELECT email FROM users WHERE id = $1))"  # noqa: S608
# Those to the addresses of users, and those that make an administrator and that they sent.
# $1 organization_id  $2 user_ids
_REVOKE_OF_MEMBERS = f"""
WITH open AS MATERIALIZED (
    SELECT id FROM organization_invitation
    WHERE organization_id = $1 AND ended_at IS NULL
      AND (email IN (SELECT email FROM users WHERE id = ANY ($2::uuid[])) OR (admin AND invited_by = ANY ($2::uuid[])))
    ORDER BY id FOR NO KEY UPDATE
)
UPDATE organization_invitation AS i SET outcome = '{InvitationState.REVOKED}', ended_at = now()
WHERE i.ended_at IS NULL AND i.id IN (SELECT id FROM open)
RETURNING {_COLUMNS}
"""  # noqa: S608
# Those that make an administrator. $1 invited_by
_REVOKE_OF_INVITER = f"""
WITH open AS MATERIALIZED (
    SELECT id FROM organization_invitation WHERE invited_by = $1 AND admin AND ended_at IS NULL
    ORDER BY id FOR NO KEY UPDATE
)
UPDATE organization_invitation AS i SET outcome = '{InvitationState.REVOKED}', ended_at = now()
WHERE i.ended_at IS NULL AND i.id IN (SELECT id FROM open)
RETURNING {_COLUMNS}
"""  # noqa: S608
_OFFER = f"""
{_COLUMNS}, o.slug, o.name AS organization_name, o.disabled_at IS NOT NULL AS organization_disabled,
       u.name AS inviter
FROM organization_invitation AS i JOIN organization AS o ON o.id = i.organization_id
LEFT JOIN users AS u ON u.id = i.invited_by
"""
_OFFER_BY_TOKEN = f"SELECT {_OFFER} WHERE i.token_hash = $1"
_OFFER_BY_ID = f"SELECT {_OFFER} WHERE i.id = $1"
_OFFERS_OF_EMAIL = f"SELECT {_OFFER} WHERE i.email = $1 AND {_OPEN} AND o.disabled_at IS NULL ORDER BY o.slug"
_OF_PERSON = f"SELECT {_OFFER} WHERE i.email = $1 OR i.user_id = $2 ORDER BY i.created_at, i.id"
# $1 id  $2 token_hash; null: any
_LOCK = f"""
SELECT FROM organization_invitation AS i
WHERE i.id = $1 AND {_OPEN} AND ($2::bytea IS NULL OR i.token_hash = $2) FOR NO KEY UPDATE
"""
# $1 id  $2 token_hash; null: any  $3 outcome  $4 user_id
_END = f"""
UPDATE organization_invitation AS i SET outcome = $3, user_id = $4, ended_at = now()
WHERE i.id = $1 AND {_OPEN} AND ($2::bytea IS NULL OR i.token_hash = $2) RETURNING {_COLUMNS}
"""  # noqa: S608


async def insert_invitation(
    organization_id: UUID,
    email: str,
    *,
    role_ids: Collection[UUID],
    admin: bool,
    token_hash: bytes,
    invited_by: UUID | None,
    lifetime: float,
    maximum: int,
) -> Invitation | None:
    """Insert an invitation. Returns None if the address has an open one, or the organization too many.

    Args:
        lifetime: in seconds.
        maximum: of open invitations of the organization.
    """
    row = await fetchrow(
        _INSERT, ids.uuid7(), organization_id, email, list(role_ids), admin, token_hash, invited_by, lifetime, maximum
    )
    return one(Invitation, row)


async def replace_expired(organization_id: UUID, email: str) -> None:
    """End the expired invitation of an address, so that it can be invited again."""
    await execute(_REPLACE_EXPIRED, organization_id, email)


async def invitation_by_id(id: UUID, organization_id: UUID) -> Invitation | None:
    """Return an invitation of an organization."""
    return one(Invitation, await fetchrow(_BY_ID, id, organization_id))


async def invitation_of_email(organization_id: UUID, email: str) -> Invitation | None:
    """Return the invitation of an address that has not ended, expired or not."""
    return one(Invitation, await fetchrow(_OPEN_OF_EMAIL, organization_id, email))


async def renew_invitation(
    id: UUID, organization_id: UUID, token_hash: bytes | None, lifetime: float
) -> Invitation | None:
    """Replace the token of an invitation that has not ended, which is valid from now on. None: there is none.

    Args:
        token_hash: None: the token stays.
    """
    return one(Invitation, await fetchrow(_RENEW, id, organization_id, token_hash, lifetime))


async def revoke_invitation(id: UUID, organization_id: UUID) -> Invitation | None:
    """Revoke an invitation. Returns None if it has ended already."""
    return one(Invitation, await fetchrow(_REVOKE, id, organization_id))


async def revoke_all_invitations() -> int:
    """Revoke all invitations. Returns their number."""
    return await execute(_REVOKE_ALL)


async def revoke_invitations_of_user(user_id: UUID) -> int:
    """Revoke the invitations to the address of a user, and those that the user sent. Returns their number."""
    return await execute(_REVOKE_OF_USER, user_id)


async def revoke_invitations_of_members(organization_id: UUID, user_ids: Collection[UUID]) -> Sequence[Invitation]:
    """Revoke the invitations of an organization to the addresses of users, and those that make an administrator and
    that the users sent. Returns them.
    """
    return many(Invitation, await fetch(_REVOKE_OF_MEMBERS, organization_id, list(user_ids)))


async def revoke_invitations_of_inviter(user_id: UUID) -> Sequence[Invitation]:
    """Revoke the invitations that a user sent and that make an administrator. Returns them."""
    return many(Invitation, await fetch(_REVOKE_OF_INVITER, user_id))


async def offer_by_token(token_hash: bytes) -> Offer | None:
    return one(Offer, await fetchrow(_OFFER_BY_TOKEN, token_hash))


async def offer_by_id(id: UUID) -> Offer | None:
    return one(Offer, await fetchrow(_OFFER_BY_ID, id))


async def open_offers(email: str) -> Sequence[Offer]:
    """Return the open invitations of an address into organizations that are enabled, ordered by slug."""
    return many(Offer, await fetch(_OFFERS_OF_EMAIL, email))


async def offers_of_person(email: str, user_id: UUID) -> Sequence[Offer]:
    """Return the invitations of an address, and those that a user answered, in any state, the oldest first."""
    return many(Offer, await fetch(_OF_PERSON, email, user_id))


async def lock_invitation(id: UUID, token_hash: bytes | None) -> bool:
    """Lock an invitation. Returns False if it is not open.

    Args:
        token_hash: that of its mail; None: the address was proved in another way.
    """
    return await fetchrow(_LOCK, id, token_hash) is not None


async def end_invitation(
    id: UUID, token_hash: bytes | None, outcome: InvitationState, user_id: UUID | None
) -> Invitation | None:
    """Use up an invitation. Returns None if it is not open. Arguments as for :func:`lock_invitation`."""
    return one(Invitation, await fetchrow(_END, id, token_hash, outcome, user_id))


INVITATIONS = Listing(
    source="organization_invitation AS i LEFT JOIN users AS u ON u.id = i.invited_by",
    columns=f"{_COLUMNS}, u.email AS inviter_email",
    key=Sort("i.id", "uuid"),
    # Ids are in the order of time.
    sorts={"created_at": Sort("i.id", "uuid")},
    default_sort="-created_at",
    filters={
        "id": Filter("i.id = {}", "uuid", "One invitation."),
        "organization_id": Filter("i.organization_id = {}", "uuid", "Of one organization."),
        "email": Filter("i.email = {}", help="To one address, in lower case.", prepare=str.lower),
        "open": Filter(f"({_OPEN}) = {{}}", "boolean", "Whether it can be accepted."),
    },
)
