"""The tables of clients that register themselves."""

from piccolo.table import Table

from idp.infra.db.columns import JSONB, UUID, Bytea, ForeignKey, Integer, Text, Timestamptz, TimestamptzNow
from idp.infra.db.engine import engine
from idp.oauth.clients.tables import ClientRow


class InitialAccessToken(Table, tablename="initial_access_token", db=engine):
    """A token that allows registrations (RFC 7591 section 3). Each takes one of its ``uses_left``.

    ``ceiling`` is the :class:`~idp.oauth.clients.dynamic.ceiling.Ceiling` of the clients.
    """

    id = UUID(primary_key=True)
    token_hash = Bytea(unique=True, secret=True)
    name = Text()
    ceiling = JSONB()
    uses_left = Integer()
    created_at = Timestamptz(default=TimestamptzNow())
    expires_at = Timestamptz(index=True)


class ClientRegistration(Table, tablename="client_registration", db=engine):
    """How a client registered itself, for its later changes.

    ``ceiling`` is that of its initial access token; without one, the settings are the ceiling. ``software_statement``
    is a JWT that was verified then.
    """

    client_id = ForeignKey(ClientRow, primary_key=True)
    ceiling = JSONB(null=True)
    initial_access_token = UUID(null=True)
    software_statement = Text(null=True)
