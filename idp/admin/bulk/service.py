"""Creates, cancels and resumes jobs, on behalf of an administrator or of the command line."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from idp import ids
from idp.accounts.repository.users import EVERY_USER
from idp.accounts.users import ids_of_names
from idp.admin.access import Caller
from idp.admin.bulk import files
from idp.admin.bulk.kinds import IMPORT, InGroup, Kind, kind_of
from idp.admin.bulk.models import Job, Selection
from idp.admin.bulk.repository import items, jobs
from idp.audit.events import record
from idp.directory.errors import UnknownGroupError
from idp.directory.repository.groups import group_by_id
from idp.errors import ConflictError, NotFoundError, ValidationError
from idp.infra.db.engine import transaction
from idp.infra.db.listing import Listing, count_rows
from idp.infra.db.locks import lock
from idp.infra.request_context import actor
from idp.settings import settings

#: Maximum number of unfinished jobs.
MAX_UNFINISHED = 50
#: Held by what adds to them: jobs that are created at the same moment would not count each other.
_LOCK = "new_bulk_jobs"
#: Names that are looked up by one statement.
_NAMES = 1000


class UnknownJobError(NotFoundError):
    """There is no such job."""

    def __init__(self) -> None:
        super().__init__("There is no such job. It may have been deleted after it had ended.")


class NobodyChosenError(ValidationError):
    """The selection has no users."""

    code = "nobody_chosen"

    def __init__(self) -> None:
        super().__init__("No user is chosen.")


class TooManyItemsError(ValidationError):
    """The job would have more items than the setting allows."""

    code = "too_many_items"

    def __init__(self) -> None:
        super().__init__(f"A job has at most {settings().bulk_max_items} items. Make several.")


class FileTooLargeError(ValidationError):
    """The file is larger than the setting allows."""

    code = "file_too_large"

    def __init__(self) -> None:
        super().__init__(f"A file has at most {settings().bulk_max_file} bytes. Use `idp users import`, or split it.")


class WrongNumberError(ConflictError):
    """The number of users is not the one that the administrator has confirmed."""

    code = "wrong_number"

    def __init__(self, number: int) -> None:
        super().__init__(f"The selection has {number} users now. Nothing was done: confirm this number.")


class TooManyJobsError(ConflictError):
    """Too many jobs wait."""

    code = "too_many_jobs"

    def __init__(self) -> None:
        super().__init__(f"There are {MAX_UNFINISHED} unfinished jobs. Wait until some have ended, or cancel them.")


class JobEndedError(ConflictError):
    """The job has ended, and nothing of it is left to do."""

    def __init__(self) -> None:
        super().__init__("The job has ended.")


async def check(parameters: msgspec.Struct) -> None:
    """Check that the parameters name what exists.

    Raises:
        UnknownGroupError: there is no such group.
    """
    if isinstance(parameters, InGroup) and await group_by_id(parameters.group_id) is None:
        raise UnknownGroupError


async def count(selection: Selection, users: Listing = EVERY_USER) -> int:
    """Return how many items a job with this selection would have.

    Raises:
        InvalidQueryError: a filter or its value is invalid.
        NobodyChosenError, TooManyItemsError: see :func:`create`.
    """
    names = selection.names
    return _checked(
        len(await _named(names))
        if names is not None
        else await count_rows(users, selection.filters, limit=settings().bulk_max_items)
    )


def _checked(number: int) -> int:
    if not number:
        raise NobodyChosenError
    if number > settings().bulk_max_items:
        raise TooManyItemsError
    return number


async def create(
    caller: Caller | None,
    kind: Kind,
    parameters: msgspec.Struct,
    selection: Selection,
    *,
    users: Listing = EVERY_USER,
    expected: int | None = None,
) -> Job:
    """Create a job, in one transaction with its items. A worker of any server does it.

    Args:
        caller: None: the command line.
        users: the list with the filters of the selection.
        expected: the number of users that the administrator has confirmed; None: any.

    Raises:
        PermissionDeniedError: no role of the caller allows it.
        UnknownGroupError: there is no such group.
        InvalidQueryError: a filter or its value is invalid.
        NobodyChosenError: the selection has no users.
        TooManyItemsError: it has more than the setting allows.
        WrongNumberError: it has another number of users, or the kind needs the number and there is none.
        TooManyJobsError: too many jobs wait.
    """
    if caller is not None:
        caller.require(kind.permission)
    await check(parameters)
    async with transaction():
        job = await _insert(caller, kind, parameters)
        if selection.names is not None:
            named = await _named(selection.names)
            await items.insert(job.id, named)
            number = len(named)
        else:
            number = await items.insert_listed(job.id, users, selection.filters, settings().bulk_max_items)
        _checked(number)
        if (kind.counted or expected is not None) and expected != number:
            raise WrongNumberError(number)
        job = await jobs.set_total(job.id, number)
        await _record("bulk_job_created", job)
    return job


async def create_import(caller: Caller | None, content: bytes, *, dry_run: bool = False) -> Job:
    """Create a job that imports the users of a file: CSV, or JSON lines.

    Args:
        dry_run: check every record, and import nobody.

    Raises:
        PermissionDeniedError: no role of the caller allows it.
        InvalidFileError: the first line of CSV is not the names of columns.
        FileTooLargeError, NobodyChosenError, TooManyItemsError, TooManyJobsError: it cannot be one job.
    """
    kind = kind_of(IMPORT)
    if caller is not None:
        caller.require(kind.permission)
    if len(content) > settings().bulk_max_file:
        raise FileTooLargeError
    file = msgspec.structs.replace(files.form_of(content), dry_run=dry_run, by_owner=caller is None or caller.owner)
    number = _checked(await files.count(content, file))
    async with transaction():
        job = await _insert(caller, kind, file)
        await files.keep(job.id, content)
        job = await jobs.set_total(job.id, number)
        await _record("bulk_job_created", job)
    return job


async def _insert(caller: Caller | None, kind: Kind, parameters: msgspec.Struct) -> Job:
    await lock(_LOCK)
    text = msgspec.json.encode(parameters).decode()
    job = await jobs.insert(ids.uuid7(), kind.name, text, actor.get(), _kept(caller), most=MAX_UNFINISHED)
    if job is None:
        raise TooManyJobsError
    return job


def _kept(caller: Caller | None) -> str | None:
    return msgspec.json.encode(caller).decode() if caller is not None else None


def _distinct(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(name for each in names if (name := each.strip()[:320])))


async def _named(names: Sequence[str]) -> list[tuple[UUID | None, str]]:
    """Return the ids and names of the items. A user who is named twice, by address and id, is one item.

    Raises:
        NobodyChosenError, TooManyItemsError: see :func:`create`.
    """
    asked = _distinct(names)
    _checked(len(asked))
    found: dict[str, UUID] = {}
    for start in range(0, len(asked), _NAMES):
        found |= await ids_of_names(asked[start : start + _NAMES])
    users = {found.get(name, name): (found.get(name), name) for name in reversed(asked)}
    return list(reversed(users.values()))


async def cancel(id: UUID, caller: Caller | None) -> Job:
    """End a job before its time. What it has done stays.

    Raises:
        UnknownJobError: there is no such job.
        PermissionDeniedError: no role of the caller allows what it does.
        JobEndedError: it has ended.
    """
    await _allowed(id, caller)
    async with transaction():
        job = await jobs.cancel(id, settings().bulk_retention)
        if job is None:
            raise JobEndedError
        await _record("bulk_job_cancelled", job)
    return job


async def cancel_of(actor: str) -> int:
    """End the jobs of an administrator who is contained, in the caller's transaction. What they have done stays.

    Args:
        actor: :attr:`idp.admin.access.Caller.actor`.
    """
    return await _cancel(actor)


async def users_with_jobs() -> list[UUID]:
    """Return the users who are the administrators of unfinished jobs."""
    return [UUID(actor.removeprefix("user:")) for actor in await jobs.actors() if actor.startswith("user:")]


async def cancel_all() -> int:
    """End all jobs, in the caller's transaction. What they have done stays."""
    return await _cancel(None)


async def _cancel(actor: str | None) -> int:
    cancelled = await jobs.cancel_of(actor, settings().bulk_retention)
    for job in cancelled:
        await _record("bulk_job_cancelled", job)
    return len(cancelled)


async def resume(id: UUID, caller: Caller | None) -> Job:
    """Queue the rest of a job that was cancelled or has failed. From now on it needs the roles of this caller.

    Raises:
        UnknownJobError: there is no such job.
        PermissionDeniedError: no role of the caller allows what it does.
        JobEndedError: nothing of it is left to do.
        TooManyJobsError: too many jobs wait.
    """
    await _allowed(id, caller)
    async with transaction():
        await lock(_LOCK)
        job = await jobs.resume(id, actor.get(), _kept(caller), most=MAX_UNFINISHED)
        if job is None:
            waiting = await jobs.count()
            raise TooManyJobsError if waiting.queued + waiting.running >= MAX_UNFINISHED else JobEndedError
        await _record("bulk_job_resumed", job)
    return job


async def found(id: UUID) -> Job:
    """Return a job.

    Raises:
        UnknownJobError: there is no such job.
    """
    job = await jobs.job(id)
    if job is None:
        raise UnknownJobError
    return job


async def _allowed(id: UUID, caller: Caller | None) -> None:
    job = await found(id)
    if caller is not None:
        caller.require(kind_of(job.kind).permission)


async def _record(event: str, job: Job) -> None:
    await record(event, detail={"job_id": str(job.id), "kind": job.kind, "total": job.total, "done": job.done})
