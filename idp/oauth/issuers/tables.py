"""The tables of trusted issuers."""

from piccolo.table import Table

from idp.ids import uuid7_text
from idp.infra.db.columns import JSONB, ForeignKey, PrimaryKey, Text, Timestamptz, TimestamptzNow
from idp.infra.db.engine import engine
from idp.oauth.clients.tables import ClientRow


class TrustedIssuerRow(Table, tablename="trusted_issuer", db=engine):
    """A trusted issuer. ``config`` is the rest of an :class:`idp.oauth.issuers.models.TrustedIssuer`."""

    id = Text(primary_key=True, default=uuid7_text)
    issuer = Text(unique=True)
    config = JSONB()
    created_at = Timestamptz(default=TimestamptzNow())
    updated_at = Timestamptz(default=TimestamptzNow())


class TrustedIssuerClient(Table, tablename="trusted_issuer_client", db=engine):
    """A client that may present tokens of an issuer. The row ends with its client."""

    issuer_id = ForeignKey(TrustedIssuerRow)
    client_id = ForeignKey(ClientRow, index=True)

    trusted_issuer_client_pkey = PrimaryKey([issuer_id, client_id])
