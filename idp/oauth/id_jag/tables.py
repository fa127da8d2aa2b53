"""The table of policies."""

from piccolo.table import Table

from idp.ids import uuid7
from idp.infra.db.columns import UUID, Array, Boolean, ForeignKey, Text, Timestamptz, TimestamptzNow
from idp.infra.db.engine import engine
from idp.oauth.clients.tables import ClientRow


class IdJagPolicyRow(Table, tablename="id_jag_policy", db=engine):
    """An :class:`~idp.oauth.id_jag.models.IdJagPolicy`. It ends with either client."""

    id = UUID(primary_key=True, default=uuid7)
    client_id = ForeignKey(ClientRow, index=True)
    audience = Text()
    audience_client_id = Text()
    relying_party = ForeignKey(ClientRow, null=True, index=True)
    resources = Array(Text())
    scope = Text()
    email = Boolean()
    email_domains = Array(Text())
    user_ids = Array(UUID())
    acr = Text(null=True)
    created_at = Timestamptz(default=TimestamptzNow())
