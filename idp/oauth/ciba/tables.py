"""Backchannel authentication requests."""

from piccolo.table import Table

from idp.ids import uuid7
from idp.infra.db.columns import (
    JSONB,
    UUID,
    Array,
    Boolean,
    Bytea,
    CompositeForeignKey,
    ForeignKey,
    Integer,
    OnDelete,
    PrimaryKey,
    Text,
    Timestamptz,
    TimestamptzNow,
)
from idp.infra.db.engine import engine
from idp.oauth.clients.tables import ClientRow
from idp.signin.tables import Session


class BackchannelRequest(Table, tablename="backchannel_request", db=engine):
    """A backchannel authentication request (CIBA Core section 7), by the SHA-256 of its ``auth_req_id``.

    ``user_id`` has no foreign key: for a hint of an unknown user it is an id that no user has, so that both requests
    look the same to the client. ``id`` is in the URL of the page. ``notification`` is what a ping needs, encrypted.
    ``session_id`` and the columns after it are those of the session in which the user approved.
    """

    user_id = UUID()
    auth_req_hash = Bytea(secret=True)
    id = UUID(default=uuid7)
    client_id = ForeignKey(ClientRow, index=True)
    request = JSONB()
    binding_message = Text(null=True)
    notification = Bytea(null=True, secret=True)
    ip_address = Text()
    poll_interval = Integer()
    next_poll_at = Timestamptz()
    created_at = Timestamptz(default=TimestamptzNow())
    expires_at = Timestamptz(index=True)
    decided_at = Timestamptz(null=True)
    approved = Boolean(null=True)
    reported_at = Timestamptz(null=True)
    session_id = ForeignKey(Session, on_delete=OnDelete.set_null, null=True)
    auth_time = Timestamptz(null=True)
    auth_age = Integer(null=True)
    amr = Array(Text(), null=True)
    acr = Text(null=True)
    consumed_at = Timestamptz(null=True)

    backchannel_request_pkey = PrimaryKey([user_id, auth_req_hash])
    backchannel_request_user_id_session_id_fkey = CompositeForeignKey([user_id, session_id])
