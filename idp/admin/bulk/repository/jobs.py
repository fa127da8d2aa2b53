"""The statements on jobs."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from idp.admin.bulk.models import Failure, Job, State
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import many, one

#: Seconds after which another process goes on with a job, if the one that worked on it was killed.
LEASE_SECONDS = 15.0

_COLUMNS = """id, kind, parameters, actor, caller, state, error, total, done, changed, failed, created_at, started_at,
    heartbeat_at, finished_at"""
_INSERT = f"""
    INSERT INTO bulk_job (id, kind, parameters, actor, caller, state, error, created_at)
    SELECT $1, $2, $3, $4, $5, 'queued', '', now()
    WHERE (SELECT count(*) FROM bulk_job WHERE finished_at IS NULL) < $6
    RETURNING {_COLUMNS}
"""  # noqa: S608
_SET_TOTAL = f"UPDATE bulk_job SET total = $2 WHERE id = $1 RETURNING {_COLUMNS}"  # noqa: S608
_BY_ID = f"SELECT {_COLUMNS} FROM bulk_job WHERE id = $1"  # noqa: S608
_DUE = """
    SELECT FROM bulk_job WHERE finished_at IS NULL AND (leased_until IS NULL OR leased_until <= now())
    AND NOT EXISTS (SELECT FROM bulk_job WHERE finished_at IS NULL AND leased_until > now()) LIMIT 1
"""
_WAITING = """
    SELECT FROM bulk_job WHERE finished_at IS NULL AND (leased_until IS NULL OR leased_until <= now()) LIMIT 1
"""
# The one that has waited longest, so that a short job does not wait for the end of a long one.
_CLAIM = f"""
    WITH due AS MATERIALIZED (
        SELECT id AS due_id FROM bulk_job
        WHERE finished_at IS NULL AND (leased_until IS NULL OR leased_until <= now())
        ORDER BY coalesce(heartbeat_at, created_at), id LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    UPDATE bulk_job SET holder = $1, leased_until = now() + make_interval(secs => $2), state = 'running',
                        started_at = coalesce(started_at, now()), heartbeat_at = now()
    FROM due WHERE id = due_id
    AND NOT EXISTS (SELECT FROM bulk_job WHERE finished_at IS NULL AND leased_until > now())
    RETURNING {_COLUMNS}
"""  # noqa: S608
# $3 how far it was  $4 items passed  $5 changed  $6 lease  $7 … $9 numbers, names and reasons of those that failed
_ADVANCE = f"""
    WITH moved AS (
        UPDATE bulk_job SET done = done + $4, changed = changed + $5, failed = failed + cardinality($7::bigint[]),
                            heartbeat_at = now(), leased_until = now() + make_interval(secs => $6)
        WHERE id = $1 AND holder = $2 AND done = $3 AND finished_at IS NULL RETURNING {_COLUMNS}
    ),
    passed AS (
        DELETE FROM bulk_item AS i USING moved
        WHERE i.job_id = moved.id AND i.number > $3::bigint AND i.number <= $3::bigint + $4::bigint
    ),
    failures AS (
        INSERT INTO bulk_error (job_id, number, name, reason)
        SELECT moved.id, e.number, e.name, e.reason
        FROM moved, unnest($7::bigint[], $8::text[], $9::text[]) AS e (number, name, reason)
    )
    SELECT {_COLUMNS} FROM moved
"""  # noqa: S608
_RELEASE = "UPDATE bulk_job SET holder = NULL, leased_until = NULL WHERE id = $1 AND holder = $2"
_FINISH = f"""
    UPDATE bulk_job SET state = $3, error = $4, holder = NULL, leased_until = NULL, finished_at = now(),
                        kept_until = now() + make_interval(secs => $5)
    WHERE id = $1 AND holder = $2 AND finished_at IS NULL RETURNING {_COLUMNS}
"""  # noqa: S608
_CANCEL = f"""
    UPDATE bulk_job SET state = 'cancelled', holder = NULL, leased_until = NULL, finished_at = now(),
                        kept_until = now() + make_interval(secs => $2)
    WHERE id = $1 AND finished_at IS NULL RETURNING {_COLUMNS}
"""  # noqa: S608
_RESUME = f"""
    UPDATE bulk_job SET state = 'queued', error = '', actor = $2, caller = $3, finished_at = NULL, kept_until = NULL
    WHERE id = $1 AND state IN ('cancelled', 'failed') AND done < total AND kept_until > now()
      AND (SELECT count(*) FROM bulk_job WHERE finished_at IS NULL) < $4
    RETURNING {_COLUMNS}
"""  # noqa: S608
# Those that this administrator asked for, or resumed; all without one.
_CANCEL_OF = f"""
    UPDATE bulk_job SET state = 'cancelled', holder = NULL, leased_until = NULL, finished_at = now(),
                        kept_until = now() + make_interval(secs => $2)
    WHERE (actor = $1 OR $1::text IS NULL) AND finished_at IS NULL RETURNING {_COLUMNS}
"""  # noqa: S608
_ACTORS = "SELECT DISTINCT actor FROM bulk_job WHERE finished_at IS NULL"
_COUNT = """
    SELECT count(*) FILTER (WHERE state = 'queued') AS queued, count(*) FILTER (WHERE state = 'running') AS running,
           coalesce(extract(epoch FROM now() - min(coalesce(heartbeat_at, created_at))), 0)::float8 AS waiting
    FROM bulk_job WHERE finished_at IS NULL
"""
_EXPIRED = "SELECT id FROM bulk_job WHERE kept_until < now() LIMIT 1"
_DELETE = "DELETE FROM bulk_job WHERE id = $1 AND kept_until < now()"


class Count(msgspec.Struct, frozen=True):
    """How many jobs are queued and running, and for how many seconds the one that waits longest has not moved on."""

    queued: int
    running: int
    waiting: float


class _Id(msgspec.Struct, frozen=True):
    id: UUID


async def insert(id: UUID, kind: str, parameters: str, actor: str, caller: str | None, *, most: int) -> Job | None:
    """Insert a job without items. Returns None if there are ``most`` unfinished ones."""
    return one(Job, await fetchrow(_INSERT, id, kind, parameters, actor, caller, most))


async def set_total(id: UUID, total: int) -> Job:
    """Set the number of items of a job that the current transaction has inserted."""
    job = one(Job, await fetchrow(_SET_TOTAL, id, total))
    assert job is not None  # noqa: S101 -- inserted in this transaction
    return job


async def job(id: UUID) -> Job | None:
    """Return a job."""
    return one(Job, await fetchrow(_BY_ID, id))


async def is_one_due() -> bool:
    """Return whether a job can be claimed, without a lock."""
    return await fetchrow(_DUE) is not None


async def is_one_waiting() -> bool:
    """Return whether no process works on some job."""
    return await fetchrow(_WAITING) is not None


async def claim(holder: UUID) -> Job | None:
    """Claim the job that has waited longest; None if there is none, or a process works on one.

    The caller holds a lock, so that two processes do not claim two jobs.
    """
    return one(Job, await fetchrow(_CLAIM, holder, LEASE_SECONDS))


async def advance(job: Job, holder: UUID, passed: int, changed: int, failures: Sequence[Failure]) -> Job | None:
    """Move a job on by so many items, and keep those that failed, in the transaction of the acts.

    Returns:
        the job; None if it has ended, or another process has it.
    """
    numbers, names, reasons = zip(*failures, strict=True) if failures else ((), (), ())
    return one(
        Job,
        await fetchrow(
            _ADVANCE, job.id, holder, job.done, passed, changed, LEASE_SECONDS,
            list(numbers), list(names), list(reasons),
        ),
    )  # fmt: skip


async def release(id: UUID, holder: UUID) -> None:
    """Let any process go on with a job."""
    await execute(_RELEASE, id, holder)


async def finish(id: UUID, holder: UUID, state: State, error: str, kept: float) -> Job | None:
    """End a job. Returns None as :func:`advance`.

    Args:
        kept: seconds for which the job is kept.
    """
    return one(Job, await fetchrow(_FINISH, id, holder, state, error, kept))


async def cancel(id: UUID, kept: float) -> Job | None:
    """End a job before its time. Returns None if it has ended."""
    return one(Job, await fetchrow(_CANCEL, id, kept))


async def cancel_of(actor: str | None, kept: float) -> list[Job]:
    """End all jobs that an administrator asked for, or with None all jobs, and return them."""
    return many(Job, await fetch(_CANCEL_OF, actor, kept))


async def actors() -> list[str]:
    """Return the administrators of the unfinished jobs."""
    return [row["actor"] for row in await fetch(_ACTORS)]


async def resume(id: UUID, actor: str, caller: str | None, *, most: int) -> Job | None:
    """Queue the rest of a job that was cancelled or has failed, for this administrator.

    Returns None if there is no rest, or there are ``most`` unfinished jobs.
    """
    return one(Job, await fetchrow(_RESUME, id, actor, caller, most))


async def count() -> Count:
    """Count the unfinished jobs."""
    (found,) = many(Count, await fetch(_COUNT))
    return found


async def expired() -> UUID | None:
    """Return the id of a job that is no longer kept."""
    row = one(_Id, await fetchrow(_EXPIRED))
    return row.id if row is not None else None


async def delete(id: UUID) -> None:
    """Delete a job that is no longer kept. Its items and errors are deleted before (:mod:`.items`)."""
    await execute(_DELETE, id)


JOBS = Listing(
    source="bulk_job AS j",
    columns="j.id, j.kind, j.parameters, j.actor, j.state, j.error, j.total, j.done, j.changed, j.failed,"
    " j.created_at, j.started_at, j.heartbeat_at, j.finished_at",
    key=Sort("j.id", "uuid"),
    sorts={"created_at": Sort("j.created_at")},
    default_sort="-created_at",
    filters={
        "id": Filter("j.id = {}", "uuid", "One job."),
        "kind": Filter("j.kind = {}", help="Of this kind."),
        "state": Filter("j.state = {}", help="In this state.", choices=tuple(State)),
    },
)
