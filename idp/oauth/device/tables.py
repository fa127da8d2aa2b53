"""Device authorizations."""

from piccolo.table import Table

from idp.accounts.tables import User
from idp.infra.db.columns import (
    JSONB,
    UUID,
    Array,
    Bytea,
    ForeignKey,
    Integer,
    SmallInt,
    Text,
    Timestamptz,
    TimestamptzNow,
)
from idp.infra.db.engine import engine


class DeviceAuthorization(Table, tablename="device_authorization", db=engine):
    """A request of a device for the access of a user, who is unknown until they approve it (RFC 8628 section 3.2).

    ``status`` is that of :class:`idp.oauth.device.repository.Status`. ``request`` is replaced by what the user has
    approved. ``poll_interval`` is in seconds, and grows when the device polls too often; ``polled_at`` is of the last.
    ``ip_address`` is that of the device.

    The columns from ``user_id`` to ``acr`` are null until the approval: the user, the session that they used, and their
    authentication, as those of :class:`idp.oauth.tables.AuthorizationCode`. ``family_id`` is that of the tokens.
    """

    device_code_hash = Bytea(primary_key=True, secret=True)
    user_code_hash = Bytea(unique=True, secret=True)
    client_id = Text()
    request = JSONB()
    status = Text()
    poll_interval = SmallInt()
    polled_at = Timestamptz(null=True)
    ip_address = Text()
    user_id = ForeignKey(User, null=True, index=True)
    session_id = UUID(null=True)
    auth_time = Timestamptz(null=True)
    auth_age = Integer(null=True)
    amr = Array(Text(), null=True)
    acr = Text(null=True)
    family_id = UUID(null=True)
    created_at = Timestamptz(default=TimestamptzNow())
    expires_at = Timestamptz(index=True)
