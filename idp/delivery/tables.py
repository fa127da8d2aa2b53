"""The tables of the outbox of deliveries."""

from piccolo.table import Table

from idp.ids import uuid7
from idp.infra.db.columns import UUID, Boolean, Bytea, Integer, Text, Timestamptz, TimestamptzNow
from idp.infra.db.engine import engine


class Delivery(Table, tablename="delivery", db=engine):
    """An HTTPS request to another system, stored in the transaction of the change that it reports.

    ``kind`` names its handler, ``stream`` its receiver. ``content`` is what the handler composes the request from; it
    is encrypted, and erased when the delivery is delivered. ``state`` is queued, deferred, delivered or dead;
    ``response`` is the receiver's last response or our own reason. ``next_attempt_at`` is null once the delivery is
    finished; then ``expires_at`` is the time of its deletion. ``urgent`` ones go
    first. ``user_id`` and ``session_id`` say whom it is about.
    """

    id = UUID(primary_key=True, default=uuid7)
    kind = Text()
    stream = Text()
    content = Bytea(null=True, secret=True)
    user_id = UUID(null=True)
    session_id = UUID(null=True)
    state = Text()
    attempts = Integer(default=0)
    response = Text()
    created_at = Timestamptz(default=TimestamptzNow())
    next_attempt_at = Timestamptz(null=True)
    expires_at = Timestamptz(index=True)
    urgent = Boolean(default=False)
    finished_at = Timestamptz(null=True)


class DeliveryStream(Table, tablename="delivery_stream", db=engine):
    """A receiver that a process serves now, or that failed last.

    ``free_at`` is the end of the lease of its ``holder``, or of a pause; then there is no holder. ``failures`` is the
    number of attempts that failed in a row. A receiver that works and that no process serves has no row.
    """

    stream = Text(primary_key=True)
    holder = UUID(null=True)
    failures = Integer(default=0)
    free_at = Timestamptz(index=True)
