"""The table of mappings."""

from piccolo.table import Table

from idp.ids import uuid7
from idp.infra.db.columns import JSONB, UUID, ForeignKey, Text, Timestamptz, TimestamptzNow
from idp.infra.db.engine import engine
from idp.oauth.clients.tables import ClientRow


class ClaimMappingRow(Table, tablename="claim_mapping", db=engine):
    """A :class:`~idp.oauth.claims.models.ClaimMapping`, for every client with the scope if ``client_id`` is null.

    ``config`` is its source, its places and its shape.
    """

    id = UUID(primary_key=True, default=uuid7)
    client_id = ForeignKey(ClientRow, null=True, index=True)
    scope = Text(null=True)
    claim = Text()
    config = JSONB()
    created_at = Timestamptz(default=TimestamptzNow())
