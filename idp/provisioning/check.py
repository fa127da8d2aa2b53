"""The job that compares a target with this server, page by page, and mends what differs if it is asked to.

It reports accounts that it does not know as unmanaged, and never changes them. What is mended goes through the
outbox as every change does. A user of whom a delivery waits is left out.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from idp.delivery import outbox
from idp.errors import RemoteError
from idp.infra.db.engine import transaction
from idp.provisioning import connection, documents, protocol, queueing
from idp.provisioning.check_groups import compare_group, list_groups
from idp.provisioning.desired import Desired, Wanted, desired_of
from idp.provisioning.models import Document, Drift, Removal, Target
from idp.provisioning.protocol import GoneError, Page, Remote, id_of
from idp.provisioning.repository import drift, jobs, members
from idp.provisioning.repository.drift import Found
from idp.provisioning.repository.jobs import Job
from idp.provisioning.repository.subjects import Subject, groups, users

#: Users that are looked at in one step, and accounts that are asked for one by one, so many at a time.
BATCH, ASKED, CONCURRENT = 200, 16, 4
#: Differences that are stored; all are counted. Resources of a target after which a check gives up.
MAX_STORED, MAX_RESOURCES = 1000, 2_000_000
NOBODY: Final = UUID(int=0)
USERS: Final = "/Users"


class EndlessError(RemoteError):
    """The pages of the target do not end, or repeat."""


class Place(msgspec.Struct, frozen=True):
    """Where the next page begins.

    Attributes:
        index: of its first resource, beginning with 1.
        cursor: if the target offers cursors.
        first: the id of the first resource of the page before.
    """

    index: int = 1
    cursor: str = ""
    first: str = ""


async def step(target: Target, job: Job) -> tuple[Job, bool]:
    """Compare the next page. Returns the job, and that it can go on at once.

    The phases are ``accounts`` (all that the target lists), ``unseen`` (those that we know, and it did not list),
    ``users`` (those who are to be there, and never were), ``groups`` and ``members``.
    """
    if not job.phase:
        await drift.delete_others(target.id, job.id)
        return msgspec.structs.replace(job, phase="accounts", total=await members.count_candidates(target)), True
    async with protocol.client() as http:
        remote = await connection.connect(http, target, max_bytes=protocol.MAX_CHECKED_BYTES, fresh=False)
        return await _PHASES[job.phase](target, remote, job), True


async def _next_page(remote: Remote, resources: str, job: Job, without: str = "") -> tuple[Page, str]:
    """Return the page that comes next, and where the one after it begins; empty: it is the last.

    Raises:
        EndlessError: the pages repeat, do not end, or have no resources.
    """
    place = msgspec.json.decode(job.cursor, type=Place) if job.cursor else Place()
    page = await remote.page(resources, place.index, place.cursor, without=without)
    if page.number and not page.resources:
        raise EndlessError("A page of its lists has no resource with an id.")
    first = str(id_of(page.resources[0])) if page.resources else ""
    if (first and first == place.first) or (page.cursor and page.cursor == place.cursor):
        raise EndlessError("The pages of its lists repeat.")
    if place.index > MAX_RESOURCES:
        raise EndlessError("The pages of its lists do not end.")
    # An empty page counts too, or such pages would never end.
    following = Place(place.index + max(page.number, 1), page.cursor, first)
    return page, "" if page.is_last else msgspec.json.encode(following).decode()


async def _accounts(target: Target, remote: Remote, job: Job) -> Job:
    page, following = await _next_page(remote, USERS, job)
    by_id = {str(id_of(each)): each for each in page.resources}
    known = await users.of_remotes(target.id, by_id)
    await users.see(target.id, job.id, list(known))
    found = [Found(kind=Drift.UNMANAGED, remote_id=each) for each in by_id if each not in known]
    found += await compare(target, {subject.id: by_id[there] for there, subject in known.items() if not subject.queued})
    job = await report(target, job, found)
    job = msgspec.structs.replace(job, done=job.done + len(by_id), counts=_more(job.counts, "accounts", len(by_id)))
    return msgspec.structs.replace(job, phase=job.phase if following else "unseen", cursor=following)


async def _unseen(target: Target, remote: Remote, job: Job) -> Job:
    """A list may miss accounts: they are asked for one by one."""
    after = UUID(job.cursor) if job.cursor else NOBODY
    page = await users.unseen(target.id, job.id, after, ASKED)
    if not page:
        return msgspec.structs.replace(job, phase="users", cursor="")
    limit = asyncio.Semaphore(CONCURRENT)

    async def read(subject: Subject) -> Document | None:
        async with limit:
            try:
                return await remote.read(USERS, str(subject.remote_id))
            except GoneError:
                return None

    there = dict(zip(page, await asyncio.gather(*map(read, page)), strict=True))
    found = await compare(target, {subject.id: account for subject, account in there.items() if account is not None})
    gone = [subject for subject, account in there.items() if account is None]
    desired = await desired_of(target, [subject.id for subject in gone])
    found += [
        Found(kind=Drift.MISSING, user_id=subject.id, remote_id=subject.remote_id)
        for subject in gone
        if desired[subject.id].wanted is Wanted.ACTIVE
    ]
    return msgspec.structs.replace(await report(target, job, found), cursor=str(page[-1].id))


async def _users(target: Target, remote: Remote, job: Job) -> Job:
    after = UUID(job.cursor) if job.cursor else NOBODY
    ids = await members.candidates(target, after, BATCH)
    if not ids:
        return msgspec.structs.replace(job, phase="groups", cursor="")
    known = await users.of_ids(target.id, ids)
    absent = [each for each in ids if each not in known or (known[each].remote_id is None and not known[each].queued)]
    desired = await desired_of(target, absent)
    found = [
        Found(kind=Drift.MISSING, user_id=each, details=_error(known.get(each)))
        for each in absent
        if desired[each].wanted is Wanted.ACTIVE
    ]
    return msgspec.structs.replace(await report(target, job, found), cursor=str(ids[-1]))


def _error(subject: Subject | None) -> tuple[str, ...]:
    return (subject.error,) if subject is not None and subject.error else ()


async def _groups(target: Target, remote: Remote, job: Job) -> Job:
    page, following = await _next_page(remote, "/Groups", job, "members")
    job = await report(target, job, await list_groups(target, page.resources))
    return msgspec.structs.replace(job, phase=job.phase if following else "members", cursor=following)


async def _members(target: Target, remote: Remote, job: Job) -> Job:
    after = UUID(job.cursor) if job.cursor else NOBODY
    page = await groups.page(target.id, after, 1)
    if not page:
        return msgspec.structs.replace(job, phase="done")
    found = await compare_group(target, remote, page[0], mend=job.mend) if not page[0].queued else []
    return msgspec.structs.replace(await report(target, job, found), cursor=str(page[0].id))


_PHASES: Final[Mapping[str, Callable[[Target, Remote, Job], Any]]] = {
    "accounts": _accounts,
    "unseen": _unseen,
    "users": _users,
    "groups": _groups,
    "members": _members,
}


async def compare(target: Target, accounts: Mapping[UUID, Document]) -> list[Found]:
    """Return how the accounts of users differ from what they are to be."""
    desired = await desired_of(target, list(accounts))
    found = (_compare(target, each, account, desired[each]) for each, account in accounts.items())
    return [each for each in found if each is not None]


def _compare(target: Target, user_id: UUID, account: Document, desired: Desired) -> Found | None:
    remote_id = id_of(account)
    if desired.wanted is Wanted.ACTIVE:
        paths = documents.differences(account, desired.values)
        if not paths:
            return None
        kind = Drift.INACTIVE if "active" in paths else Drift.DIFFERENT
        return Found(kind=kind, user_id=user_id, remote_id=remote_id, details=tuple(paths))
    if desired.wanted is Wanted.REMOVED and target.removal is Removal.DELETE:
        return Found(kind=Drift.EXTRA, user_id=user_id, remote_id=remote_id)
    if documents.get(account, "active") is True:
        return Found(kind=Drift.ACTIVE, user_id=user_id, remote_id=remote_id)
    return None


def _more(counts: Mapping[str, int], name: str, number: int) -> dict[str, int]:
    return dict(counts) | {name: counts.get(name, 0) + number}


async def report(target: Target, job: Job, found: Sequence[Found]) -> Job:
    """Count and store differences, and queue those that are to be mended."""
    stored = sum(job.counts.get(kind, 0) for kind in Drift)
    await drift.insert(target.id, job.id, found[: max(MAX_STORED - stored, 0)])
    counts: Mapping[str, int] = job.counts
    for each in found:
        counts = _more(counts, each.kind, 1)
    if job.mend:
        await _mend(target, found)
    return msgspec.structs.replace(job, counts=dict(counts))


async def _mend(target: Target, found: Iterable[Found]) -> None:
    leaving = [each.user_id for each in found if each.user_id is not None and each.kind in (Drift.ACTIVE, Drift.EXTRA)]
    kinds = (Drift.MISSING, Drift.DIFFERENT, Drift.INACTIVE)
    coming = [each.user_id for each in found if each.user_id is not None and each.kind in kinds]
    concerned = [each.group_id for each in found if each.group_id is not None]
    push = await jobs.job(target.id, "push")
    if leaving and push is not None and push.state != "done":
        # Whether so many may go is decided there.
        desired = await desired_of(target, leaving)
        leaving = [each for each in leaving if not desired[each].has_left]
    async with transaction():
        await users.active_there(target.id, leaving)
        await users.forget_hashes(target.id, coming)
        await groups.forget_hashes(target.id, concerned)
        queued = await queueing.deliveries(users, target.id, leaving, urgent=True)
        queued += await queueing.deliveries(users, target.id, coming)
        queued += await queueing.deliveries(groups, target.id, concerned)
        await outbox.queue_many(queued)
