"""Tables of bulk jobs, their items and files, and the items that failed."""

from piccolo.table import Table

from idp.ids import uuid7
from idp.infra.db.columns import JSONB, UUID, BigInt, Bytea, ForeignKey, PrimaryKey, Text, Timestamptz, TimestamptzNow
from idp.infra.db.engine import engine


class BulkJob(Table, tablename="bulk_job", db=engine):
    """A job: :class:`idp.admin.bulk.models.Job`.

    ``caller`` is the :class:`idp.admin.access.Caller` who asked, as JSON; null: the command line. The process
    ``holder`` works on it until ``leased_until``. It is deleted after ``kept_until``.
    """

    id = UUID(primary_key=True, default=uuid7)
    kind = Text()
    parameters = JSONB()
    actor = Text()
    caller = JSONB(null=True)
    state = Text()
    error = Text()
    total = BigInt(default=0)
    done = BigInt(default=0)
    changed = BigInt(default=0)
    failed = BigInt(default=0)
    holder = UUID(null=True)
    leased_until = Timestamptz(null=True)
    created_at = Timestamptz(default=TimestamptzNow())
    started_at = Timestamptz(null=True)
    heartbeat_at = Timestamptz(null=True)
    finished_at = Timestamptz(null=True)
    kept_until = Timestamptz(null=True)


class BulkItem(Table, tablename="bulk_item", db=engine):
    """A user whom a job has still to act on, as named by the administrator. ``user_id`` is null for an unknown one."""

    job_id = ForeignKey(BulkJob)
    number = BigInt()
    user_id = UUID(null=True)
    name = Text()

    bulk_item_pkey = PrimaryKey([job_id, number])


class BulkChunk(Table, tablename="bulk_chunk", db=engine):
    """A part of the file of a job that imports users. It is encrypted, because it may have password hashes."""

    job_id = ForeignKey(BulkJob)
    number = BigInt()
    content = Bytea(secret=True)

    bulk_chunk_pkey = PrimaryKey([job_id, number])


class BulkError(Table, tablename="bulk_error", db=engine):
    """An item on which a job could not act, and why."""

    job_id = ForeignKey(BulkJob)
    number = BigInt()
    name = Text()
    reason = Text()

    bulk_error_pkey = PrimaryKey([job_id, number])
