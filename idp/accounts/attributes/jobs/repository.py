"""The statements on jobs of attributes, and on the values that they change."""

from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import msgspec

from idp.accounts.attributes.repository import SEARCH_KEY
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import many, one

#: Making an attribute searchable, making it not searchable, and deleting it.
Kind = Literal["index", "unindex", "delete"]

_COLUMNS: Final = "attribute, kind, after_key, after_user, done, total, started_at"
# Another job of the attribute has not finished: what it did is right, or is done again.
_NOTE: Final = """
INSERT INTO attribute_job (attribute, kind, after_key, after_user, done, total, started_at)
VALUES ($1, $2, $3, '00000000-0000-0000-0000-000000000000', 0, $4, now())
ON CONFLICT (attribute) DO UPDATE SET kind = excluded.kind, after_key = excluded.after_key,
    after_user = excluded.after_user, done = 0, total = excluded.total, started_at = now()
"""
# One process works on a job at a time. $1 attribute; null: the oldest job
_TAKE: Final = f"""
SELECT {_COLUMNS} FROM attribute_job WHERE attribute = $1 OR $1::text IS NULL
ORDER BY started_at, attribute LIMIT 1 FOR UPDATE SKIP LOCKED
"""  # noqa: S608
_ALL: Final = f"SELECT {_COLUMNS} FROM attribute_job ORDER BY started_at, attribute"  # noqa: S608
_BY_NAME: Final = f"SELECT {_COLUMNS} FROM attribute_job WHERE attribute = $1"  # noqa: S608
_SAVE: Final = "UPDATE attribute_job SET after_key = $2, after_user = $3, done = done + $4 WHERE attribute = $1"
_END: Final = "DELETE FROM attribute_job WHERE attribute = $1 AND kind = $2 AND started_at = $3"
_FORGET: Final = "DELETE FROM attribute WHERE name = $1 AND deleted_at IS NOT NULL"
_HAS_VALUES: Final = "SELECT FROM user_attribute WHERE attribute = $1 LIMIT 1"

_WITH_KEY: Final = "(search_key, user_id) >= ($2, $3)"
_WITHOUT_KEY: Final = "search_key IS NULL AND user_id >= $3 AND $2::text IS NULL"


def _batch(change: str, condition: str) -> str:
    """Return a statement that changes some values ``v``, after a place in the index.

    It waits for nobody: a value that is being changed is an error, and nothing is passed over.
    """
    return f"""
    WITH batch AS MATERIALIZED (
        SELECT user_id, attribute, position, search_key FROM user_attribute WHERE attribute = $1 AND {condition}
        ORDER BY search_key, user_id LIMIT $4 FOR UPDATE NOWAIT
    ), changed AS (
        {change} WHERE (v.user_id, v.attribute, v.position) IN (SELECT user_id, attribute, position FROM batch)
    )
    SELECT search_key AS key, user_id, (SELECT count(*) FROM batch) AS number FROM batch
    ORDER BY search_key DESC, user_id DESC LIMIT 1
    """  # noqa: S608


_DELETE_KEYED: Final = _batch("DELETE FROM user_attribute AS v", _WITH_KEY)
_DELETE_OTHERS: Final = _batch("DELETE FROM user_attribute AS v", _WITHOUT_KEY)
_ADD_KEYS: Final = _batch(f"UPDATE user_attribute AS v SET search_key = {SEARCH_KEY}", _WITHOUT_KEY)  # noqa: S608
_REMOVE_KEYS: Final = _batch("UPDATE user_attribute AS v SET search_key = NULL", _WITH_KEY)

JOBS: Final = Listing(
    source="attribute_job AS j",
    columns="j.attribute, j.kind, j.done, j.total, j.started_at",
    key=Sort("j.attribute", "text"),
    sorts={"started_at": Sort("j.started_at")},
    default_sort="started_at",
    filters={"attribute": Filter("j.attribute = {}", help="Of one attribute.")},
)


class Job(msgspec.Struct, frozen=True):
    """A change of the values of an attribute, and how far it is.

    Attributes:
        after_key, after_user: the place in the index of values. Those with a key come first; without: the key is None.
        done, total: numbers of values. The total is of the time when it was noted.
    """

    attribute: str
    kind: Kind
    after_key: str | None
    after_user: UUID
    done: int
    total: int
    started_at: datetime


class _Last(msgspec.Struct, frozen=True):
    """The last value of a batch, and the number of its values."""

    key: str | None
    user_id: UUID
    number: int


async def note(attribute: str, kind: Kind, total: int) -> None:
    """Note a job, in the transaction that changes the declaration. It takes the place of one that has not finished."""
    await execute(_NOTE, attribute, kind, None if kind == "index" else "", total)


async def take(attribute: str | None = None) -> Job | None:
    """Return the oldest job on which no other process works, locked until the end of the transaction.

    Args:
        attribute: only of this one.
    """
    return one(Job, await fetchrow(_TAKE, attribute))


async def job(attribute: str) -> Job | None:
    """Return the job of an attribute, that of a deleted one too."""
    return one(Job, await fetchrow(_BY_NAME, attribute))


async def jobs() -> list[Job]:
    """Return all jobs, the oldest first."""
    return many(Job, await fetch(_ALL))


async def change_some(job: Job, limit: int) -> int:
    """Change some values of a job that the caller has taken, and note the place. Returns their number.

    Raises:
        asyncpg.LockNotAvailableError: one of them is being changed.
    """
    if job.kind == "index":
        statement = _ADD_KEYS
    elif job.kind == "unindex":
        statement = _REMOVE_KEYS
    else:
        statement = _DELETE_OTHERS if job.after_key is None else _DELETE_KEYED
    last = one(_Last, await fetchrow(statement, job.attribute, job.after_key, job.after_user, limit))
    if last is None:
        return 0
    await execute(_SAVE, job.attribute, last.key, last.user_id, last.number)
    return last.number


async def begin_others(job: Job) -> None:
    """Go on with the values without a key, after those with one."""
    await execute(_SAVE, job.attribute, None, UUID(int=0), 0)


async def has_values(attribute: str) -> bool:
    return await fetchrow(_HAS_VALUES, attribute) is not None


async def end(job: Job) -> bool:
    """Forget a job that is done, and a deleted attribute with it. Returns False if another job took its place."""
    if not await execute(_END, job.attribute, job.kind, job.started_at):
        return False
    if job.kind == "delete":
        await execute(_FORGET, job.attribute)
    return True
