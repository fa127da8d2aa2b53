"""The kinds of bulk jobs: who may start one, what it does to each user, and what the confirmation says."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal
from uuid import UUID

import msgspec

from idp.accounts import profile, users
from idp.admin.roles import Permission
from idp.directory import groups
from idp.directory.errors import UnknownGroupError
from idp.errors import DomainError, NotFoundError
from idp.oauth import sign_out
from idp.oauth.credentials import credentials_changed
from idp.oauth.sign_out import sign_out_for_deletion


class NoParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The kind has no parameters."""


class InGroup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The group to add users to, or to remove them from."""

    group_id: UUID


class UsersFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of users: ``csv`` or ``jsonl``.

    Attributes:
        dry_run: every record is checked, and nobody is imported.
        by_owner: an owner chose the file. An owner who resumes the job of another administrator vouches for none of it.
    """

    form: Literal["csv", "jsonl"]
    dry_run: bool = False
    by_owner: bool = False


#: Acts on a user with the parameters of the job, in the current transaction. Returns whether that changed something.
Act = Callable[[UUID, Any], Awaitable[bool]]


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of job.

    Attributes:
        label: the act, as a button.
        effect: what happens to each user.
        undo: how to take it back.
        permission: what the administrator must be allowed to do to each of the users.
        act: what it does to each user. None: its items are the records of a file (:mod:`idp.admin.bulk.files`).
        parameters: the type of the parameters, which ``act`` gets.
        spares_asker: whether the administrator who asks is left out, and users with a role unless an owner asks.
        counted: whether the administrator must enter the number of users.
        stops: errors that end the job, because every other user would fail too.
    """

    name: str
    label: str
    effect: str
    undo: str
    permission: Permission
    act: Act | None
    parameters: type[msgspec.Struct] = NoParameters
    danger: bool = False
    spares_asker: bool = True
    counted: bool = False
    stops: tuple[type[DomainError], ...] = ()


class UnknownKindError(NotFoundError):
    """There is no such kind of job."""

    def __init__(self) -> None:
        super().__init__(f"There is no such kind of job. There are: {', '.join(KINDS)}.")


async def _disable(user_id: UUID, _: NoParameters) -> bool:
    return await users.disable_user(user_id, credentials_changed)


async def _enable(user_id: UUID, _: NoParameters) -> bool:
    return await users.enable_user(user_id)


async def _sign_out(user_id: UUID, _: NoParameters) -> bool:
    await sign_out.sign_out_everywhere(user_id, "signed_out_by_admin")
    return True


async def _add_to_group(user_id: UUID, where: InGroup) -> bool:
    return bool(await groups.add_members(where.group_id, [user_id]))


async def _remove_from_group(user_id: UUID, where: InGroup) -> bool:
    return bool(await groups.remove_members(where.group_id, [user_id]))


async def _delete(user_id: UUID, _: NoParameters) -> bool:
    return await profile.delete_user(user_id, sign_out_for_deletion)


_WRITE = Permission.USERS_WRITE
#: The name of the kind that imports users.
IMPORT: Final = "import_users"
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            name="disable", label="Disable", permission=_WRITE, act=_disable, danger=True,
            effect="The users cannot sign in. Their sessions and tokens end.",
            undo="Enable the same users. They sign in again; ended sessions stay ended.",
        ),
        Kind(
            name="enable", label="Enable", permission=_WRITE, act=_enable,
            effect="The users can sign in again. Ended sessions stay ended.", undo="Disable the same users.",
        ),
        Kind(
            name="sign_out", label="Sign out everywhere", permission=Permission.SESSIONS_WRITE, act=_sign_out,
            danger=True, effect="All sessions of the users end, and the tokens of every application are revoked.",
            undo="Nothing can be taken back. The users sign in again.",
        ),
        Kind(
            name="add_to_group", label="Add to a group", permission=Permission.GROUPS_WRITE, act=_add_to_group,
            parameters=InGroup, spares_asker=False, stops=(UnknownGroupError,),
            effect="The users get the roles of the group.",
            undo="Remove the same users from the group, also those who were in it before.",
        ),
        Kind(
            name="remove_from_group", label="Remove from a group", permission=Permission.GROUPS_WRITE,
            act=_remove_from_group, parameters=InGroup, spares_asker=False, danger=True, stops=(UnknownGroupError,),
            effect="The users lose the roles of the group.", undo="Add the same users to the group.",
        ),
        Kind(
            name="delete", label="Delete", permission=_WRITE, act=_delete, danger=True, counted=True,
            effect="The accounts are deleted with all their data.", undo="This cannot be undone.",
        ),
        Kind(
            name=IMPORT, label="Import users", permission=_WRITE, act=None, parameters=UsersFile,
            effect="The users of a file get accounts. Existing users are not changed.",
            undo="Delete the same users, by a job with the list of their addresses.",
        ),
    )
}  # fmt: skip


def acts() -> list[Kind]:
    """Return the kinds that act on users who are chosen."""
    return [kind for kind in KINDS.values() if kind.act is not None]


def kind_of(name: str) -> Kind:
    """Return a kind by its name.

    Raises:
        UnknownKindError: there is none.
    """
    if name not in KINDS:
        raise UnknownKindError
    return KINDS[name]


def act_of(name: str) -> Kind:
    """Return a kind that acts on users who are chosen, by its name.

    Raises:
        UnknownKindError: there is none.
    """
    if (kind := kind_of(name)).act is None:
        raise UnknownKindError
    return kind
