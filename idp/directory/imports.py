"""Bulk import of the members of groups.

Each batch is one transaction. Whoever is in a group stays in it, so an interrupted import can be run again.
"""

from collections.abc import AsyncIterator, Collection, Iterable
from itertools import islice
from typing import NamedTuple
from uuid import UUID

from idp.accounts.addresses import InvalidEmailError, normalise_email
from idp.accounts.import_files import MalformedRecordError, Record
from idp.accounts.repository import users
from idp.accounts.users import ids_of_names
from idp.audit.events import About, record_many
from idp.directory import groups, names
from idp.directory.errors import NameTakenError
from idp.directory.models import ADMIN, Group
from idp.directory.names import InvalidNameError
from idp.directory.repository import groups as repository
from idp.infra.db.engine import transaction

BATCH_SIZE = 500
#: The columns of a file: the email address or the id of a user, and the name of a group.
COLUMNS = frozenset({"user", "group"})


class RejectedMembership(NamedTuple):
    """A rejected record: its line, the values as written, and the reason as one sentence."""

    line: int
    user: str | None
    group: str | None
    reason: str


class Batch(NamedTuple):
    """The result of a batch. In a dry run: what would be added and created."""

    added: int
    existing: int
    created_groups: int
    refused: list[RejectedMembership]


class _Line(NamedTuple):
    """A record with a valid user and group name. ``key`` is that of the name."""

    number: int
    user: str
    group: str
    key: str


async def import_members(
    records: Iterable[Record], *, create_groups: bool = False, dry_run: bool = False
) -> AsyncIterator[Batch]:
    """Add users to groups. A batch is committed when it is yielded.

    Args:
        create_groups: create groups that do not exist, in no other one.

    Raises:
        InvalidFileError: the file that the records are read from cannot be imported.
    """
    records = iter(records)
    #: Names of groups that a dry run would have created.
    planned: set[str] = set()
    while batch := list(islice(records, BATCH_SIZE)):
        yield await _import(batch, planned, create_groups=create_groups, dry_run=dry_run)


async def _import(batch: list[Record], planned: set[str], *, create_groups: bool, dry_run: bool) -> Batch:
    lines, refused = _valid(batch)
    user_ids = await ids_of_names({line.user for line in lines})
    found = await repository.groups_by_names({line.key for line in lines})
    refused += [_refused(line, "There is no such user.") for line in lines if line.user not in user_ids]
    lines = [line for line in lines if line.user in user_ids]
    missing = {line.key: line.group for line in lines if line.key not in found} if create_groups else {}
    created = len(missing.keys() - planned)
    planned.update(missing)
    if not dry_run:
        found |= {key: await _create(name) for key, name in missing.items()}
    known = found.keys() | missing.keys()
    refused += [_refused(line, "There is no such group.") for line in lines if line.key not in known]
    wanted = {(user_ids[line.user], line.key) for line in lines if line.key in known}
    pairs = {(user_id, found[key].id) for user_id, key in wanted if key in found}
    if dry_run:
        added = len(wanted) - await repository.count_pairs(pairs)
    else:
        added = await _add(pairs, {group.id: group for group in found.values()})
    return Batch(added, len(batch) - len(refused) - added, created, sorted(refused))


def _valid(batch: list[Record]) -> tuple[list[_Line], list[RejectedMembership]]:
    lines: list[_Line] = []
    refused: list[RejectedMembership] = []
    for each in batch:
        try:
            lines.append(_validate(each))
        except (MalformedRecordError, InvalidEmailError, InvalidNameError) as error:
            values = each.values if isinstance(each.values, dict) else {}
            user, group = ((values.get(name) or "")[:320] or None for name in ("user", "group"))
            refused.append(RejectedMembership(each.line, user, group, str(error)))
    return lines, refused


def _validate(each: Record) -> _Line:
    if isinstance(each.values, MalformedRecordError):
        raise each.values
    user, group = (each.values.get(name, "").strip() for name in ("user", "group"))
    if not user or not group:
        raise MalformedRecordError("The user or the group is missing.")
    if "@" in user:
        user = normalise_email(user)
    group = names.checked(group)
    return _Line(each.line, user, group, names.key(group))


def _refused(line: _Line, reason: str) -> RejectedMembership:
    return RejectedMembership(line.number, line.user, line.group, reason)


async def _create(name: str) -> Group:
    """Create a group, unless another process has created it."""
    try:
        return await groups.create(name)
    except NameTakenError:
        group = await repository.group_by_name(names.key(name))
        if group is None:
            raise
        return group


async def _add(pairs: Collection[tuple[UUID, UUID]], by_id: dict[UUID, Group]) -> int:
    """Add users to groups. Returns the number of those that were not in them."""
    async with transaction():
        await users.lock_users({user_id for user_id, _ in pairs})
        added = await repository.insert_pairs(pairs, ADMIN)
        await users.increase_directory_version({user_id for user_id, _ in added})
        await record_many("group_member_added", [(None, _about(user_id, by_id[group])) for user_id, group in added])
    return len(added)


def _about(user_id: UUID, group: Group) -> About:
    return {"user_id": user_id, "detail": {"group_id": str(group.id), "name": group.name}}
