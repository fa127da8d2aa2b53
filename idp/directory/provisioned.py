"""Groups and roles of a user that come from one origin, such as an upstream, which says all of them each time."""

from collections.abc import Collection, Mapping
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


async def replace_many(wanted: Mapping[UUID, tuple[Collection[UUID], Collection[UUID]]], origin: str) -> None:
    """As :func:`replace`, for the groups and the roles of several users, who are locked here.

    What is given takes a few statements for all of them. Only who loses something takes statements of their own.
    """
    async with transaction():
        await users.lock_users(wanted.keys())
        held: dict[UUID, list[memberships.OriginOfUser]] = {}
        for one in await memberships.origins_of_users(wanted.keys()):
            held.setdefault(one.user_id, []).append(one)
        pairs, roles = set[tuple[UUID, UUID]](), dict[UUID, set[UUID]]()
        for user_id, (groups, given_roles) in wanted.items():
            own = held.get(user_id, ())
            more, less = _difference({one.id: one.origin for one in own if one.is_group}, origin, Given(groups))
            other = {one.id: one.origin for one in own if not one.is_group}
            more_roles, less_roles = _difference(other, origin, Given(given_roles))
            if less or less_roles:
                await replace(user_id, origin, Given(groups), Given(given_roles))
                continue
            pairs |= {(user_id, group_id) for group_id in more}
            for role_id in more_roles:
                roles.setdefault(role_id, set()).add(user_id)
        await _give(pairs, roles, origin)


async def _give(pairs: Collection[tuple[UUID, UUID]], roles: Mapping[UUID, Collection[UUID]], origin: str) -> None:
    """Give several users groups and roles: ids of user and group, and ids of users by role."""
    changed = {user_id for user_id, _ in pairs} | {user_id for holders in roles.values() for user_id in holders}
    if not changed:
        return
    await users.increase_directory_version(changed)
    names = await groups_repository.keep_groups({group_id for _, group_id in pairs})
    found = await roles_repository.keep_roles(roles.keys())
    added = await groups_repository.insert_pairs(pairs, origin) if pairs else set()
    granted = [
        (user_id, role)
        for role_id, role in found.items()
        for user_id in await roles_repository.insert_user_roles(role_id, roles[role_id], origin)
    ]
    await record_many(
        "group_member_added",
        [(None, _about_group(user_id, group_id, names, origin)) for user_id, group_id in sorted(added)],
    )
    await record_many("user_role_granted", [(None, _about_role(user_id, role, origin)) for user_id, role in granted])


def _about_group(user_id: UUID, group_id: UUID, names: Mapping[UUID, str], origin: str) -> About:
    detail = {"group_id": str(group_id), "name": names.get(group_id, ""), "origin": origin}
    return {"user_id": user_id, "detail": detail}


def _about_role(user_id: UUID, role: Role, origin: str) -> About:
    detail = {"role_id": str(role.id), "name": role.name, "origin": origin}
    return {"user_id": user_id, "client_id": role.client_id, "detail": detail}


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
        return _about_group(user_id, group_id, names, origin)

    added = await groups_repository.insert_pairs({(user_id, group_id) for group_id in more}, origin) if more else set()
    removed = await groups_repository.delete_memberships_of_origin(user_id, less, origin) if less else []
    await record_many("group_member_added", [(None, about(group_id)) for _, group_id in sorted(added)])
    await record_many("group_member_removed", [(None, about(group_id)) for group_id in sorted(removed)])


async def _change_roles(
    user_id: UUID, origin: str, more: Collection[UUID], less: Collection[UUID], found: dict[UUID, Role]
) -> None:
    def about(role_id: UUID) -> About:
        return _about_role(user_id, found[role_id], origin)

    added = [one for one in sorted(more) if await roles_repository.insert_user_roles(one, [user_id], origin)]
    removed = await roles_repository.delete_user_roles_of_origin(user_id, less, origin) if less else []
    await record_many("user_role_granted", [(None, about(role_id)) for role_id in added])
    await record_many("user_role_revoked", [(None, about(role_id)) for role_id in sorted(removed)])
