"""Groups and roles of a user that come from one origin, such as an upstream, which says all of them each time."""

from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

from idp.accounts.repository import users
from idp.audit.events import About, record_many
from idp.directory.models import Role
from idp.directory.repository import groups as groups_repository
from idp.directory.repository import memberships
from idp.directory.repository import roles as roles_repository
from idp.infra.db.engine import transaction


class Given(NamedTuple):
    """What an origin gives.

    Attributes:
        ids: groups or roles.
        kept: those that the user does not lose although they are not given. None: all.
    """

    ids: Collection[UUID] = frozenset()
    kept: Collection[UUID] | None = frozenset()


class Missing(NamedTuple):
    """Groups and roles that would be given and do not exist."""

    groups: set[UUID]
    roles: set[UUID]


async def replace(user_id: UUID, origin: str, groups: Given = Given(), roles: Given = Given()) -> Missing:  # noqa: B008
    """Give a user what an origin gives now, and take what it gave before and gives no more.

    What another origin gave stays. Nothing is written if nothing changes. Joins the caller's transaction, which has
    locked the user.
    """
    async with transaction():
        held = await memberships.origins_of_user(user_id)
        more, less = _difference({one.id: one.origin for one in held if one.is_group}, origin, groups)
        more_roles, less_roles = _difference({one.id: one.origin for one in held if not one.is_group}, origin, roles)
        names = await groups_repository.keep_groups(more | less) if more | less else {}
        found = await roles_repository.keep_roles(more_roles | less_roles) if more_roles | less_roles else {}
        missing = Missing(more - names.keys(), more_roles - found.keys())
        more, more_roles = more - missing.groups, more_roles - missing.roles
        if more or less or more_roles or less_roles:
            await users.increase_directory_version([user_id])
            await _change_groups(user_id, origin, more, less, names)
            await _change_roles(user_id, origin, more_roles, less_roles, found)
    return missing


def _difference(held: dict[UUID, str], origin: str, given: Given) -> tuple[set[UUID], set[UUID]]:
    """Return what the user is to get and to lose."""
    more = set(given.ids) - held.keys()
    if given.kept is None:
        return more, set()
    return more, {key for key, by in held.items() if by == origin} - set(given.ids) - set(given.kept)


async def _change_groups(
    user_id: UUID, origin: str, more: Collection[UUID], less: Collection[UUID], names: dict[UUID, str]
) -> None:
    def about(group_id: UUID) -> About:
        name = names.get(group_id, "")
        return {"user_id": user_id, "detail": {"group_id": str(group_id), "name": name, "origin": origin}}

    added = await groups_repository.insert_pairs({(user_id, group_id) for group_id in more}, origin) if more else set()
    removed = await groups_repository.delete_memberships_of_origin(user_id, less, origin) if less else []
    await record_many("group_member_added", [(None, about(group_id)) for _, group_id in sorted(added)])
    await record_many("group_member_removed", [(None, about(group_id)) for group_id in sorted(removed)])


async def _change_roles(
    user_id: UUID, origin: str, more: Collection[UUID], less: Collection[UUID], found: dict[UUID, Role]
) -> None:
    def about(role_id: UUID) -> About:
        role = found[role_id]
        detail = {"role_id": str(role_id), "name": role.name, "origin": origin}
        return {"user_id": user_id, "client_id": role.client_id, "detail": detail}

    added = [one for one in sorted(more) if await roles_repository.insert_user_roles(one, [user_id], origin)]
    removed = await roles_repository.delete_user_roles_of_origin(user_id, less, origin) if less else []
    await record_many("user_role_granted", [(None, about(role_id)) for role_id in added])
    await record_many("user_role_revoked", [(None, about(role_id)) for role_id in sorted(removed)])
