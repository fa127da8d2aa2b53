"""The statements of the check of directories: which are due, and the users whose password they have."""

from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import msgspec

from idp.federation.ldap.option_names import PREFIX
from idp.federation.models import origin_of
from idp.infra.db.engine import fetch
from idp.infra.db.rows import many

#: Users that one statement reads.
BATCH = 5000

_TAKE_DUE = """
    UPDATE upstream SET check_due_at = now() + make_interval(secs => $1)
    WHERE config ->> 'kind' = 'ldap' AND disabled_at IS NULL AND (check_due_at IS NULL OR check_due_at <= now())
    RETURNING id
"""
_SET_DUE = "UPDATE upstream SET check_due_at = now() + make_interval(secs => $2) WHERE id = $1"
# Not who signed in for the first time while the directory was read: they may be new there.
_USERS = """
    SELECT s.user_id, s.subject, u.disabled_by
    FROM upstream_subject AS s
    JOIN identity AS i ON i.user_id = s.user_id AND i.issuer = s.issuer AND i.subject = s.subject
    JOIN users AS u ON u.id = s.user_id
    WHERE s.issuer = $1 AND s.subject > $2 AND u.password_hash IS NULL
    AND (u.disabled_at IS NULL OR u.disabled_by IN (
        SELECT $4 || o.upstream_id FROM identity AS o WHERE o.user_id = s.user_id AND starts_with(o.issuer, $5)
    ))
    AND coalesce(i.last_used_at, i.created_at) < now() - make_interval(secs => $3)
    ORDER BY s.subject LIMIT $6
"""
_AMONG = """
    SELECT i.user_id, i.subject, u.disabled_by FROM identity AS i JOIN users AS u ON u.id = i.user_id
    WHERE i.user_id = ANY($2::uuid[]) AND i.issuer = $1
"""


class _Due(msgspec.Struct, frozen=True):
    id: str


class LinkedUser(msgspec.Struct, frozen=True):
    """A user whose password a directory has.

    Attributes:
        disabled_by: the origin of the directory whose check disabled the user. None: the user is enabled.
    """

    user_id: UUID
    subject: str
    disabled_by: str | None


async def take_due(interval: float) -> list[str]:
    """Return the directories that must be checked. For ``interval`` seconds no other worker gets them."""
    return [due.id for due in many(_Due, await fetch(_TAKE_DUE, interval))]


async def set_due(upstream_id: str, seconds: float) -> None:
    """Let a directory be checked again after some seconds."""
    await fetch(_SET_DUE, upstream_id, seconds)


async def linked_users(issuer: str, before: float) -> AsyncIterator[Sequence[LinkedUser]]:
    """Return the users whose password a directory has, in batches: enabled, or disabled by a check of any directory.

    Args:
        before: they signed in with it more than so many seconds ago.
    """
    last = ""
    while users := many(LinkedUser, await fetch(_USERS, issuer, last, before, origin_of(""), PREFIX, BATCH)):
        yield users
        last = users[-1].subject


async def linked_among(issuer: str, user_ids: Sequence[UUID]) -> list[LinkedUser]:
    """Return those of some users who are linked to a directory."""
    return many(LinkedUser, await fetch(_AMONG, issuer, user_ids))
