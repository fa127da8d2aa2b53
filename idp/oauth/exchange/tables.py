"""The table of policies."""

from piccolo.table import Table

from idp.ids import uuid7
from idp.infra.db.columns import UUID, Array, Boolean, ForeignKey, Integer, Text, Timestamptz, TimestamptzNow
from idp.infra.db.engine import engine
from idp.oauth.clients.tables import ClientRow


class ExchangePolicyRow(Table, tablename="token_exchange_policy", db=engine):
    """An :class:`~idp.oauth.exchange.models.ExchangePolicy`."""

    id = UUID(primary_key=True, default=uuid7)
    client_id = ForeignKey(ClientRow, index=True)
    mode = Text()
    resources = Array(Text())
    scope = Text()
    added_scope = Text()
    subject_token_types = Array(Text())
    subject_clients = Array(Text())
    user_ids = Array(UUID())
    max_lifetime = Integer(null=True)
    bearer_for_bound = Boolean()
    created_at = Timestamptz(default=TimestamptzNow())
