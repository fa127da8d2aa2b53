"""Ends what users were issued for an organization, such as tokens, in the transaction that ends a membership.

This package knows no tokens: :mod:`idp.oauth.sign_out` registers how they are revoked. A process that has not loaded it
cannot end a membership, so that none leaves tokens behind for a member who is added again.
"""

from collections.abc import Awaitable, Callable, Collection
from uuid import UUID

#: Revokes what a user was issued for an organization, for a reason.
Revoke = Callable[[UUID, UUID, str], Awaitable[object]]

_registered: list[Revoke] = []


def revoked_by(function: Revoke) -> None:
    """Register the function that revokes what was issued."""
    _registered[:] = [function]


async def end(organization_id: UUID, user_ids: Collection[UUID], reason: str) -> None:
    """Revoke what users were issued for an organization, in the caller's transaction.

    Raises:
        RuntimeError: nothing is registered.
    """
    if not _registered:
        raise RuntimeError("Import idp.oauth.sign_out first: it revokes what was issued for a membership.")
    for user_id in sorted(set(user_ids)):
        await _registered[0](user_id, organization_id, reason)
