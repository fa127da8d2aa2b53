"""The groups and roles of a user, each with why: directly, through which group, or through which role.

For administrators and for the user. Tokens use :mod:`idp.directory.effective`, which does not look for reasons.
"""

from collections.abc import Iterable
from uuid import UUID

from idp.directory.models import ExplainedMemberships, GroupOfUser, Named, RoleOfUser
from idp.directory.repository.memberships import reasons


async def explained(user_id: UUID, *, organizations: bool = True) -> ExplainedMemberships:
    """Return all groups and roles of a user. Of an unknown user: none.

    Args:
        organizations: with the roles of organizations.
    """
    rows = [row for row in await reasons(user_id) if organizations or row.organization_id is None]
    groups = {row.id: row.name for row in rows if row.is_group}
    roles = {row.id: row.name for row in rows if not row.is_group}
    return ExplainedMemberships(
        [
            GroupOfUser(id=row.id, name=row.name, direct=row.direct, through_groups=_named(row.through_groups, groups))
            for row in rows
            if row.is_group
        ],
        [
            RoleOfUser(
                id=row.id,
                client_id=row.client_id,
                organization_id=row.organization_id,
                name=row.name,
                direct=row.direct,
                through_groups=_named(row.through_groups, groups),
                through_roles=_named(row.through_roles, roles),
            )
            for row in rows
            if not row.is_group
        ],
    )


def _named(ids: Iterable[UUID], names: dict[UUID, str]) -> list[Named]:
    return sorted((Named(each, names[each]) for each in ids), key=lambda each: (each.name, each.id))
