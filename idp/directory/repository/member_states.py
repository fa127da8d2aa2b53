"""The statements on memberships that a SCIM client of an organization disables, and on accounts that it made."""

from typing import Final
from uuid import UUID

from idp.infra.db.engine import execute, fetchrow

#: The beginning of who has disabled an account, if that was a SCIM client of an organization; then the organization.
ORIGIN: Final = "scim:organization:"

_SET_ENABLED = """
UPDATE organization_member SET disabled_at = CASE WHEN $3 THEN NULL ELSE now() END
WHERE user_id = $1 AND organization_id = $2 AND (disabled_at IS NULL) <> $3
"""
_MANAGE = "UPDATE organization_member SET managed = true WHERE user_id = $1 AND organization_id = $2"
_HAS_DOMAIN = "SELECT FROM organization_domain WHERE organization_id = $1 AND domain = $2 AND verified_at IS NOT NULL"
# It stays verified until the end of the transaction.
_HOLD_DOMAIN = f"{_HAS_DOMAIN} FOR SHARE"


async def set_enabled(organization_id: UUID, user_id: UUID, enabled: bool) -> bool:
    """Let a membership count, or no longer. Returns whether this changed something."""
    return bool(await execute(_SET_ENABLED, user_id, organization_id, enabled))


async def manage(organization_id: UUID, user_id: UUID) -> None:
    """Note that the SCIM client of an organization made the account of a member."""
    await execute(_MANAGE, user_id, organization_id)


async def has_domain(organization_id: UUID, domain: str) -> bool:
    """Return whether an organization has verified a domain."""
    return await fetchrow(_HAS_DOMAIN, organization_id, domain) is not None


async def hold_domain(organization_id: UUID, domain: str) -> bool:
    """Return whether an organization has verified a domain. If so, it stays so until the end of the transaction."""
    return await fetchrow(_HOLD_DOMAIN, organization_id, domain) is not None


def is_disabled_by(user: str, organization_id: str) -> str:
    """Return the SQL condition that the SCIM client of an organization disabled an account.

    Args:
        user: the name of its row of users.
        organization_id: as SQL.
    """
    return f"({user}.disabled_by IS NOT DISTINCT FROM '{ORIGIN}' || {organization_id})"


def is_at_domain(email: str, organization_id: str) -> str:
    """Return the SQL condition that an address is at a verified domain of an organization.

    Args:
        email, organization_id: as SQL.
    """
    return f"""EXISTS (
        SELECT FROM organization_domain AS at
        WHERE at.domain = split_part({email}, '@', -1) AND at.organization_id = {organization_id}
          AND at.verified_at IS NOT NULL)"""
