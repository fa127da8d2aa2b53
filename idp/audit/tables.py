"""The audit trail at rest."""

from piccolo.columns import JSONB, UUID, Text, Timestamptz
from piccolo.columns.defaults.timestamptz import TimestamptzNow
from piccolo.table import Table

from idp.db.engine import engine
from idp.ids import uuid7


class AuditEvent(Table, tablename="audit_event", db=engine):
    """One security-relevant event. Rows are only ever added.

    No foreign keys: an event outlives the user and the client that it speaks of.
    """

    id = UUID(primary_key=True, default=uuid7)
    at = Timestamptz(default=TimestamptzNow(), index=True)
    event = Text()
    outcome = Text()
    user_id = UUID(null=True, default=None, index=True)
    client_id = Text(null=True, default=None)
    session_id = UUID(null=True, default=None)
    ip_address = Text(default="")
    request_id = Text(default="")
    detail = JSONB(default="{}")
