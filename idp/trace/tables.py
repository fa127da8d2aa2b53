"""The table of recorded requests."""

from piccolo.table import Table

from idp.ids import uuid7
from idp.infra.db.columns import JSONB, UUID, Integer, Text, Timestamptz
from idp.infra.db.engine import engine


class Trace(Table, tablename="trace", db=engine):
    """A recorded request. ``trace_id`` is the id of the request that began its flow.

    ``steps`` is a list of milliseconds since the begin of the request, kind and fields. No foreign keys, because rows
    live for days and are only read by support. Partitioned by day, by ``id`` (:mod:`idp.infra.db.partitions`).
    """

    id = UUID(primary_key=True, default=uuid7)
    at = Timestamptz()
    request_id = Text(index=True)
    trace_id = Text(index=True)
    outcome = Text()
    method = Text()
    route = Text()
    status = Integer()
    duration_ms = Integer()
    error = Text(null=True)
    reason = Text(null=True)
    hint = Text(null=True)
    user_id = UUID(null=True)
    client_id = Text(null=True)
    session_id = UUID(null=True)
    family_id = UUID(null=True)
    ip_address = Text()
    steps = JSONB()
