"""The table of rules."""

from piccolo.table import Table

from idp.ids import uuid7
from idp.infra.db.columns import JSONB, UUID, Boolean, ForeignKey, Text, Timestamptz, TimestamptzNow
from idp.infra.db.engine import engine
from idp.oauth.clients.tables import ClientRow


class WorkloadIdentityRow(Table, tablename="workload_identity", db=engine):
    """A :class:`~idp.oauth.clients.workloads.models.WorkloadIdentity`."""

    id = UUID(primary_key=True, default=uuid7)
    client_id = ForeignKey(ClientRow, index=True)
    issuer = Text()
    subject = Text()
    audience = Text()
    jwks = JSONB(null=True)
    jwks_uri = Text(null=True)
    single_use = Boolean()
    created_at = Timestamptz(default=TimestamptzNow())
