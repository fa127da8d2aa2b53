"""The groups and roles of a user, on the page of the user."""

from collections.abc import Sequence
from uuid import UUID

from idp.admin.console.components import Cell, Table
from idp.admin.console.named import owner
from idp.admin.console.screen import HOME, AdminRequest
from idp.admin.roles import Permission
from idp.directory import why
from idp.directory.models import ExplainedMemberships, Named, RoleOfUser


async def tables(request: AdminRequest, user_id: UUID) -> list[Table]:
    """Return all groups and roles of a user, each with why."""
    may_see = Permission.ORGANIZATIONS_READ in request.caller.allowed
    found = await why.explained(user_id, organizations=may_see)
    may_change = Permission.GROUPS_WRITE in request.caller.allowed
    return [_groups(found, user_id, may_change=may_change), _roles(found, user_id, may_change=may_change)]


def _groups(found: ExplainedMemberships, user_id: UUID, *, may_change: bool) -> Table:
    rows = [
        [
            Cell(each.name, f"{HOME}/groups/{each.id}"),
            _why(each.direct, each.through_groups),
            Cell("Remove", f"{HOME}/groups/{each.id}/members/{user_id}/remove")
            if each.direct and may_change
            else Cell(),
        ]
        for each in found.groups
    ]
    return Table("Groups", ("Name", "Why", ""), rows)


def _roles(found: ExplainedMemberships, user_id: UUID, *, may_change: bool) -> Table:
    rows = [
        [
            Cell(each.name, None if each.organization_id else f"{HOME}/roles/{each.id}"),
            _owner(each),
            _why(each.direct, [*each.through_groups, *each.through_roles]),
            Cell("Remove", f"{HOME}/roles/{each.id}/holders/{user_id}/take")
            if each.direct and may_change and each.organization_id is None
            else Cell(),
        ]
        for each in found.roles
    ]
    return Table("Roles", ("Name", "Of", "Why", ""), rows)


def _owner(role: RoleOfUser) -> Cell:
    if role.organization_id is not None:
        return Cell("an organisation", f"{HOME}/organizations/{role.organization_id}/roles/{role.id}")
    return owner(role.client_id)


def _why(direct: bool, through: Sequence[Named]) -> Cell:
    reasons = ["directly"] if direct else []
    if through:
        reasons.append(f"through {', '.join(each.name for each in through)}")
    return Cell(" and ".join(reasons))
