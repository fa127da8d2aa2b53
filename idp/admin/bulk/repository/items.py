"""The statements on the items of jobs, and on those that failed."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec

from idp.admin.bulk.models import Item
from idp.infra.db.engine import execute, fetch
from idp.infra.db.listing import Filter, Listing, Sort, use_rows
from idp.infra.db.rows import many

_INSERT = """
    INSERT INTO bulk_item (job_id, number, user_id, name)
    SELECT $1, i.number, i.user_id, i.name
    FROM unnest($2::uuid[], $3::text[]) WITH ORDINALITY AS i (user_id, name, number)
"""
_NEXT = """
    SELECT number, user_id, name FROM bulk_item WHERE job_id = $1 AND number > $2 ORDER BY number LIMIT $3
"""
_INSERT_CHUNK = "INSERT INTO bulk_chunk (job_id, number, content) VALUES ($1, $2, $3)"
_CHUNKS = "SELECT number, content FROM bulk_chunk WHERE job_id = $1 ORDER BY number"
_DELETE_FILE = "DELETE FROM bulk_chunk WHERE job_id = $1"
_DELETE_ITEMS = """
    DELETE FROM bulk_item WHERE job_id = $1
    AND number < (SELECT min(number) FROM bulk_item WHERE job_id = $1) + $2::bigint
"""
_DELETE_ERRORS = """
    DELETE FROM bulk_error WHERE job_id = $1
    AND number < (SELECT min(number) FROM bulk_error WHERE job_id = $1) + $2::bigint
"""


async def insert(job_id: UUID, users: Sequence[tuple[UUID | None, str]]) -> None:
    """Insert the items of a job: ids and names, in their order. An id is None for an unknown user."""
    await execute(_INSERT, job_id, [user_id for user_id, _ in users], [name for _, name in users])


def _insert_listed(rows: str, last: int) -> str:
    return f"""
    WITH inserted AS (
        INSERT INTO bulk_item (job_id, number, user_id, name)
        SELECT ${last}::uuid, row_number() OVER (ORDER BY l.id), l.id, l.email FROM ({rows}) AS l RETURNING number
    ) SELECT count(*) AS number FROM inserted
    """  # noqa: S608


async def insert_listed(job_id: UUID, users: Listing, filters: Mapping[str, str], limit: int) -> int:
    """Insert the users of a list as items, by one statement. Returns their number, at most one more than ``limit``.

    Raises:
        InvalidQueryError: a filter or its value is invalid.
    """
    return await use_rows(_insert_listed, users, filters, job_id, limit=limit)


async def following(job_id: UUID, after: int, number: int) -> list[Item]:
    """Return so many items after the given one."""
    return many(Item, await fetch(_NEXT, job_id, after, number))


class Chunk(msgspec.Struct, frozen=True):
    """A part of a file. ``content`` is encrypted."""

    number: int
    content: bytes


async def insert_chunk(job_id: UUID, number: int, content: bytes) -> None:
    """Insert a part of the file of a job, encrypted."""
    await execute(_INSERT_CHUNK, job_id, number, content)


async def chunks(job_id: UUID) -> list[Chunk]:
    """Return the parts of the file of a job."""
    return many(Chunk, await fetch(_CHUNKS, job_id))


async def delete_file(job_id: UUID) -> None:
    """Delete the file of a job."""
    await execute(_DELETE_FILE, job_id)


async def delete_some(job_id: UUID, number: int) -> int:
    """Delete up to so many items, and as many errors, of a job. Returns how many were deleted."""
    return await execute(_DELETE_ITEMS, job_id, number) + await execute(_DELETE_ERRORS, job_id, number)


ERRORS = Listing(
    source="bulk_error AS e",
    columns="e.number, e.name, e.reason",
    key=Sort("e.number", "bigint"),
    sorts={"number": Sort("e.number", "bigint")},
    default_sort="number",
    filters={"job_id": Filter("e.job_id = {}", "uuid", "Of one job.")},
)
