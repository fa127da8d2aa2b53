"""Operations on the groups and roles of one user."""

from idp.accounts.repository.users import user_by_id
from idp.accounts.tables import User
from idp.admin.api.ids import uuid_of
from idp.admin.api.models import directory as models
from idp.admin.api.models.base import reader
from idp.admin.api.operation import Call, listed, not_found, operation
from idp.admin.roles import Permission
from idp.directory import why
from idp.directory.models import ExplainedMemberships
from idp.directory.repository.groups import GROUPS
from idp.directory.repository.roles import OWN_ROLES

_READ = Permission.GROUPS_READ
_ONE = "/users/{user_id}"


async def _user(call: Call) -> User:
    """
    Raises:
        ProblemError: 404, there is no such user.
    """
    user = await user_by_id(uuid_of(call.params["user_id"]))
    if user is None:
        raise not_found()
    return user


listed(
    f"{_ONE}/groups", _READ, "List the groups that a user was added to",
    listing=GROUPS, read=reader(models.Group), item=models.Group, within="user_id", of=_user,
)  # fmt: skip
listed(
    f"{_ONE}/roles", _READ, "List the roles that a user was given, without those of organizations",
    listing=OWN_ROLES, read=reader(models.DirectoryRole), item=models.DirectoryRole, within="user_id", of=_user,
)  # fmt: skip


@operation(
    "GET", f"{_ONE}/memberships", _READ, "Show all groups and roles of a user, and why the user has them",
    content=ExplainedMemberships,
)  # fmt: skip
async def show_memberships(call: Call) -> ExplainedMemberships:
    user = await _user(call)
    return await why.explained(user.id, organizations=Permission.ORGANIZATIONS_READ in call.caller.allowed)
