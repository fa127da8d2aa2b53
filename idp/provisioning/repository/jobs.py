"""The statements on jobs at targets."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.rows import one

Kind = Literal["push", "check"]
#: Seconds after which another process may go on with a job, if the one that worked on it was killed.
LEASE_SECONDS = 60.0

_COLUMNS = """
    target_id, kind, id, state, phase, cursor, done, total, counts, mend, attempts, error, started_at, finished_at,
    next_run_at
"""
_START = f"""
    INSERT INTO provisioning_job AS j (target_id, kind, id, state, phase, cursor, done, total, counts, mend, error,
                                       started_at, next_run_at)
    VALUES ($1, $2, $3, 'running', '', '', 0, NULL, '{{}}', $4, '', now(), now())
    ON CONFLICT (target_id, kind) DO UPDATE
    SET id = excluded.id, state = 'running', phase = '', cursor = '', done = 0, total = NULL, counts = '{{}}',
        mend = excluded.mend, again = false, error = '', attempts = 0, holder = NULL, started_at = now(),
        finished_at = NULL, next_run_at = now()
    RETURNING {_COLUMNS}
"""  # noqa: S608
# A push that is under way has passed users who may have changed: it begins again when it is done. One that an
# administrator stopped stays so.
_REQUEST = """
    INSERT INTO provisioning_job AS j (target_id, kind, id, state, phase, cursor, done, total, counts, mend, error,
                                       started_at, next_run_at)
    VALUES ($1, 'push', $2, 'running', '', '', 0, NULL, '{}', false, '', now(), now())
    ON CONFLICT (target_id, kind) DO UPDATE
    SET again = j.state = 'stopped' OR (j.state = 'running' AND (j.again OR j.phase <> '')),
        id = CASE WHEN j.finished_at IS NULL THEN j.id ELSE excluded.id END,
        state = CASE WHEN j.finished_at IS NULL THEN j.state ELSE 'running' END,
        phase = CASE WHEN j.finished_at IS NULL THEN j.phase ELSE '' END,
        cursor = CASE WHEN j.finished_at IS NULL THEN j.cursor ELSE '' END,
        done = CASE WHEN j.finished_at IS NULL THEN j.done ELSE 0 END,
        counts = CASE WHEN j.finished_at IS NULL THEN j.counts ELSE '{}' END,
        error = CASE WHEN j.finished_at IS NULL THEN j.error ELSE '' END,
        attempts = CASE WHEN j.finished_at IS NULL THEN j.attempts ELSE 0 END,
        started_at = CASE WHEN j.finished_at IS NULL THEN j.started_at ELSE now() END,
        next_run_at = CASE WHEN j.finished_at IS NULL THEN j.next_run_at ELSE now() END,
        finished_at = NULL
"""
# Not those that an administrator stopped, and none of a disabled target: its push would be under way for ever.
_REPEAT = """
    UPDATE provisioning_job SET id = gen_random_uuid(), state = 'running', phase = '', cursor = '', done = 0,
                                total = NULL, counts = '{}', error = '', attempts = 0, holder = NULL,
                                started_at = now(), finished_at = NULL, next_run_at = now()
    WHERE kind = 'push' AND state IN ('done', 'failed') AND finished_at < now() - make_interval(secs => $1)
      AND target_id IN (SELECT id FROM provisioning_target WHERE disabled_at IS NULL)
"""
_RESUME = f"""
    UPDATE provisioning_job SET state = 'running', error = '', attempts = 0, holder = NULL, finished_at = NULL,
                                next_run_at = now()
    WHERE target_id = $1 AND kind = $2 AND state IN ('stopped', 'failed') RETURNING {_COLUMNS}
"""  # noqa: S608
_STOP = """
    UPDATE provisioning_job SET state = 'stopped', holder = NULL, next_run_at = NULL
    WHERE target_id = $1 AND kind = ANY ($2::text[]) AND state = 'running' RETURNING kind
"""
_END = """
    UPDATE provisioning_job SET state = 'failed', error = $2, holder = NULL, finished_at = now(), next_run_at = NULL
    WHERE target_id = $1 AND state = 'running'
"""
_TAKE = f"""
    WITH due AS MATERIALIZED (
        SELECT j.target_id, j.kind FROM provisioning_job AS j
        JOIN provisioning_target AS t ON t.id = j.target_id AND t.disabled_at IS NULL
        WHERE j.next_run_at <= now()
          AND ($3::uuid IS NULL OR j.target_id = $3) ORDER BY j.next_run_at LIMIT 1 FOR UPDATE OF j SKIP LOCKED
    )
    UPDATE provisioning_job SET holder = $1, next_run_at = now() + make_interval(secs => $2)
    WHERE (target_id, kind) IN (SELECT target_id, kind FROM due)
    RETURNING {_COLUMNS}
"""  # noqa: S608
_SAVE = """
    UPDATE provisioning_job SET phase = $4, cursor = $5, done = $6, total = $7, counts = $8, attempts = 0, error = '',
                                next_run_at = now() + make_interval(secs => $9), holder = CASE WHEN $10 THEN holder END
    WHERE target_id = $1 AND kind = $2 AND holder = $3
"""
_FINISH = """
    UPDATE provisioning_job SET
        state = CASE WHEN again THEN 'running' ELSE $4 END, error = $5, holder = NULL,
        finished_at = CASE WHEN NOT again THEN now() END, next_run_at = CASE WHEN again THEN now() END,
        phase = CASE WHEN again THEN '' ELSE phase END, cursor = '', again = false,
        done = CASE WHEN again THEN 0 ELSE $6 END, counts = CASE WHEN again THEN '{}'::jsonb ELSE $7::jsonb END
    WHERE target_id = $1 AND kind = $2 AND holder = $3
"""
_HALT = """
    UPDATE provisioning_job SET state = 'stopped', phase = $4, cursor = $5, total = $6, counts = $7, error = $8,
                                holder = NULL, next_run_at = NULL
    WHERE target_id = $1 AND kind = $2 AND holder = $3
"""
_DEFER = """
    UPDATE provisioning_job SET attempts = attempts + 1, error = $4, holder = NULL,
                                next_run_at = now() + make_interval(secs => $5)
    WHERE target_id = $1 AND kind = $2 AND holder = $3
"""
_ONE = f"SELECT {_COLUMNS} FROM provisioning_job WHERE target_id = $1 AND kind = $2"  # noqa: S608
# Checks of targets whose last one began long ago, or that were never checked.
_START_DUE = """
    INSERT INTO provisioning_job AS j (target_id, kind, id, state, phase, cursor, done, total, counts, mend, error,
                                       started_at, next_run_at)
    SELECT t.id, 'check', gen_random_uuid(), 'running', '', '', 0, NULL, '{}', t.mends, '', now(), now()
    FROM provisioning_target AS t LEFT JOIN provisioning_job AS o ON o.target_id = t.id AND o.kind = 'check'
    WHERE t.disabled_at IS NULL AND coalesce(o.started_at, t.updated_at) < now() - make_interval(secs => $1)
      AND coalesce(o.state, '') NOT IN ('running', 'stopped')
    ON CONFLICT (target_id, kind) DO UPDATE
    SET id = excluded.id, state = 'running', phase = '', cursor = '', done = 0, total = NULL, counts = '{}',
        mend = excluded.mend, again = false, error = '', attempts = 0, holder = NULL, started_at = now(),
        finished_at = NULL, next_run_at = now()
    WHERE j.state NOT IN ('running', 'stopped') AND j.started_at < now() - make_interval(secs => $1)
"""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """The last job of a kind at a target.

    Attributes:
        state: running, stopped, done or failed.
        phase, cursor: how far it is.
        done, total: users that it has passed, and about how many there are; None: not counted.
        counts: of what it found.
        attempts: that failed in a row.
        error: of the last one.
    """

    target_id: UUID
    kind: Kind
    id: UUID
    state: str
    phase: str
    cursor: str
    done: int
    total: int | None
    counts: dict[str, int]
    mend: bool
    attempts: int
    error: str
    started_at: datetime
    finished_at: datetime | None
    next_run_at: datetime | None


def _read(row: Mapping[str, Any] | None) -> Job | None:
    return one(Job, {**row, "counts": msgspec.json.decode(row["counts"])} if row is not None else None)


async def start(target_id: UUID, kind: Kind, id: UUID, *, mend: bool = False) -> Job:
    """Start a job from its beginning."""
    job = _read(await fetchrow(_START, target_id, kind, id, mend))
    assert job is not None  # noqa: S101 -- the statement returns one row
    return job


async def request(target_id: UUID, id: UUID) -> None:
    """Let a push look at every user after this moment."""
    await execute(_REQUEST, target_id, id)


async def repeat(after: float) -> None:
    """Let pushes at enabled targets that ended more than so many seconds ago begin again."""
    await execute(_REPEAT, after)


async def resume(target_id: UUID, kind: Kind) -> Job | None:
    """Go on with a job that was stopped or has failed; None: there is none."""
    return _read(await fetchrow(_RESUME, target_id, kind))


async def stop(target_id: UUID, kinds: list[Kind]) -> list[str]:
    """Stop jobs that are under way. Returns the kinds of those that were."""
    return [row["kind"] for row in await fetch(_STOP, target_id, kinds)]


async def end(target_id: UUID, error: str) -> None:
    """End the jobs that are under way as ``failed``."""
    await execute(_END, target_id, error)


async def take(holder: UUID, target_id: UUID | None = None) -> Job | None:
    """Take a job that is due, so that no other process does; None: there is none.

    Args:
        target_id: only of this target.
    """
    return _read(await fetchrow(_TAKE, holder, LEASE_SECONDS, target_id))


async def save(job: Job, holder: UUID, *, wait: float | None = None) -> bool:
    """Store how far a job is. Returns False if it was stopped, started again, or taken by another process.

    Args:
        wait: seconds after which any process may go on; None: the holder goes on.
    """
    seconds, counts = LEASE_SECONDS if wait is None else wait, msgspec.json.encode(job.counts).decode()
    values = (job.phase, job.cursor, job.done, job.total, counts, seconds, wait is None)
    return bool(await execute(_SAVE, job.target_id, job.kind, holder, *values))


async def finish(job: Job, holder: UUID, state: str, error: str = "") -> bool:
    """End a job as ``done`` or ``failed``. Returns False as :func:`save`."""
    counts = msgspec.json.encode(job.counts).decode()
    return bool(await execute(_FINISH, job.target_id, job.kind, holder, state, error, job.done, counts))


async def halt(job: Job, holder: UUID, error: str) -> bool:
    """Stop a job until it is resumed. Returns False as :func:`save`."""
    counts = msgspec.json.encode(job.counts).decode()
    values = (job.phase, job.cursor, job.total, counts, error)
    return bool(await execute(_HALT, job.target_id, job.kind, holder, *values))


async def defer(job: Job, holder: UUID, error: str, wait: float) -> None:
    """Try again after so many seconds."""
    await execute(_DEFER, job.target_id, job.kind, holder, error, wait)


async def job(target_id: UUID, kind: Kind) -> Job | None:
    return _read(await fetchrow(_ONE, target_id, kind))


async def start_due_checks(interval: float) -> int:
    """Start a check of each target whose last one began more than so many seconds ago. Returns their number."""
    return await execute(_START_DUE, interval)
