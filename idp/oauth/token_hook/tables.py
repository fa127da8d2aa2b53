"""The table of token hooks."""

from piccolo.table import Table

from idp.ids import uuid7
from idp.infra.db.columns import UUID, Array, Boolean, Bytea, ForeignKey, Text, Timestamptz, TimestamptzNow
from idp.infra.db.engine import engine
from idp.oauth.clients.tables import ClientRow


class TokenHookRow(Table, tablename="token_hook", db=engine):
    """A :class:`~idp.oauth.token_hook.models.TokenHook`: that of a client, or, if ``client_id`` is null, of all others.

    ``secret`` signs its requests and is encrypted. ``old_secret`` signs them too until ``old_secret_until``.
    """

    id = UUID(primary_key=True, default=uuid7)
    client_id = ForeignKey(ClientRow, null=True, unique=True)
    url = Text()
    places = Array(Text())
    fail_open = Boolean()
    secret = Bytea(secret=True)
    old_secret = Bytea(null=True, secret=True)
    old_secret_until = Timestamptz(null=True)
    disabled_at = Timestamptz(null=True)
    created_at = Timestamptz(default=TimestamptzNow())
    updated_at = Timestamptz(default=TimestamptzNow())
