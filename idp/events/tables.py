"""The tables of webhooks and of Shared Signals streams."""

from piccolo.table import Table

from idp.ids import uuid7
from idp.infra.db.columns import (
    JSONB,
    UUID,
    Array,
    Boolean,
    Bytea,
    ForeignKey,
    PrimaryKey,
    Text,
    Timestamptz,
    TimestamptzNow,
)
from idp.infra.db.engine import engine
from idp.oauth.clients.tables import ClientRow


class WebhookRow(Table, tablename="webhook", db=engine):
    """A URL that gets events: :class:`idp.events.webhooks.Webhook`.

    ``secret`` signs them and is encrypted. ``old_secret`` signs them too until ``old_secret_until``.
    """

    id = UUID(primary_key=True, default=uuid7)
    url = Text()
    description = Text()
    kinds = Array(Text())
    whole = Boolean()
    secret = Bytea(secret=True)
    old_secret = Bytea(null=True, secret=True)
    old_secret_until = Timestamptz(null=True)
    disabled_at = Timestamptz(null=True)
    created_at = Timestamptz(default=TimestamptzNow())
    updated_at = Timestamptz(default=TimestamptzNow())


class EventStreamRow(Table, tablename="event_stream", db=engine):
    """A stream of security event tokens to a client: :class:`idp.events.models.Stream`.

    ``authorization_header`` is the Authorization header that the receiver wants with pushed tokens. It is encrypted.
    """

    id = UUID(primary_key=True, default=uuid7)
    client_id = ForeignKey(ClientRow, index=True)
    description = Text()
    endpoint_url = Text(null=True)
    authorization_header = Bytea(null=True, secret=True)
    events_requested = JSONB()
    format = Text()
    status = Text()
    status_reason = Text()
    verified_at = Timestamptz(null=True)
    created_at = Timestamptz(default=TimestamptzNow())
    updated_at = Timestamptz(default=TimestamptzNow())


class EventStreamSubject(Table, tablename="event_stream_subject", db=engine):
    """A user of whom a stream gets events."""

    user_id = UUID()
    stream_id = ForeignKey(EventStreamRow, index=True)
    event_stream_subject_pkey = PrimaryKey([user_id, stream_id])
