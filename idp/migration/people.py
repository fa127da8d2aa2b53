"""Importing the users of an export, with what they belong to. Run again, it follows the other system."""

from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from typing import Any, Final, NamedTuple
from uuid import UUID

from idp.accounts import import_updates, kept_subjects
from idp.accounts.addresses import InvalidEmailError, normalise_email
from idp.accounts.attributes.records import COLUMN
from idp.accounts.attributes.registry import attributes
from idp.accounts.import_files import Record
from idp.accounts.imports import import_users
from idp.accounts.repository import users
from idp.directory import names, organizations, provisioned
from idp.directory.repository.groups import GROUPS
from idp.directory.repository.organizations import ORGANIZATIONS
from idp.directory.repository.roles import OWN_ROLES
from idp.federation.repository import emails_of_identities
from idp.infra.db.engine import transaction
from idp.infra.db.listing import all_rows
from idp.migration.models import Export, Person
from idp.oauth.credentials import credentials_changed
from idp.signin.factors.imports import release, store

#: The origin of groups and roles that an import gives, and takes again.
ORIGIN: Final = "migration"
_ADMINISTRATOR: Final = "Administrators of this server are left alone: nothing of them is changed."


class RefusedPerson(NamedTuple):
    """A user who was not imported: the place in the export, the address as written, and the reason as one sentence."""

    place: str
    email: str | None
    reason: str


class Batch(NamedTuple):
    """The result of a batch. In a dry run: what would happen."""

    imported: int
    updated: int
    unchanged: int
    refused: list[RefusedPerson]


class _Directory(NamedTuple):
    """The ids of groups, roles and organizations by the keys of their names."""

    groups: Mapping[str, UUID]
    roles: Mapping[tuple[str, str | None], UUID]
    organizations: Mapping[str, UUID]


async def import_people(export: Export, *, dry_run: bool, new_subjects: bool = False) -> AsyncIterator[Batch]:
    """Import users, and update those of an earlier run whom nobody has changed here. A batch is committed when it is
    yielded.

    Args:
        dry_run: check only.
        new_subjects: import users whose ``sub`` cannot be kept with a new one. Otherwise they are refused.

    Raises:
        ExportError: a file cannot be read.
    """
    await attributes.load()
    directory = await _directory()
    #: The users of the current batch by number.
    pending: dict[int, Person] = {}
    records = _records(export, pending, dry_run=dry_run, new_subjects=new_subjects)
    batches = import_users(records, store, emails_of_identities, release, dry_run=dry_run, update=credentials_changed)
    async for batch in batches:
        refused = [RefusedPerson(pending.pop(one.line).place, one.email, one.reason) for one in batch.refused]
        if not dry_run:
            await _join(pending.values(), directory)
        if batch.administrators:
            export.lost[_ADMINISTRATOR] += batch.administrators
        pending.clear()
        yield Batch(batch.imported, batch.updated, batch.existing - batch.updated, refused)


def _records(export: Export, pending: dict[int, Person], *, dry_run: bool, new_subjects: bool) -> Iterator[Record]:
    declared = {one.name for one in attributes.all()}
    for number, person in enumerate(export.people(), 1):
        values = person.values
        if isinstance(values, dict):
            if new_subjects and "sub" in values and kept_subjects.user_id(values["sub"]) is None:
                export.lost["The sub cannot be kept, and is a new one."] += 1
                del values["sub"]
            _keep_declared(export, values.get(COLUMN, {}), declared, dry_run=dry_run)
        pending[number] = person
        yield Record(number, values)


def _keep_declared(export: Export, given: dict[str, Any], declared: Collection[str], *, dry_run: bool) -> None:
    """Take away attributes that are not declared. Before the configuration is applied, that is no loss."""
    for name in given.keys() - declared:
        del given[name]
        if not dry_run:
            export.lost[f"The attribute {name} is not declared here."] += 1


async def _directory() -> _Directory:
    return _Directory(
        {names.key(row["name"]): row["id"] for row in await all_rows(GROUPS)},
        {(names.key(row["name"]), row["client_id"]): row["id"] for row in await all_rows(OWN_ROLES)},
        {row["slug"]: row["id"] for row in await all_rows(ORGANIZATIONS)},
    )


async def _join(people: Collection[Person], directory: _Directory) -> None:
    """Give users whom the import may change their groups, roles and organizations.

    Groups and roles of an earlier run that they lost are taken.
    """
    by_place = await _user_ids(people)
    members: dict[UUID, set[UUID]] = {}
    async with transaction():
        followed, _administrators = await import_updates.followed(by_place.values())
        wanted: dict[UUID, tuple[list[UUID], list[UUID]]] = {user.id: ([], []) for user in followed}
        for person in people:
            user_id = by_place.get(person.place)
            if user_id not in wanted:
                continue
            groups = [names.key(name) for name in person.groups]
            roles = [(names.key(role.name), role.client_id) for role in person.roles]
            wanted[user_id] = (
                [directory.groups[key] for key in groups if key in directory.groups],
                [directory.roles[key] for key in roles if key in directory.roles],
            )
            for slug in person.organizations:
                if slug in directory.organizations:
                    members.setdefault(directory.organizations[slug], set()).add(user_id)
        if wanted:
            await provisioned.replace_many(wanted, ORIGIN)
    for organization_id, added in members.items():
        await organizations.add_members(organization_id, added, ORIGIN)


async def _user_ids(people: Collection[Person]) -> dict[str, UUID]:
    """Return the ids of the users who exist, by their places."""
    emails: dict[str, str] = {}
    for person in people:
        if isinstance(person.values, dict):
            try:
                emails[person.place] = normalise_email(str(person.values.get("email")))
            except InvalidEmailError:
                continue
    found = await users.ids_of_emails(set(emails.values()))
    return {place: found[email] for place, email in emails.items() if email in found}
