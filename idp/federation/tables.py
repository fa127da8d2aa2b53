"""Upstream providers and who is who there, at rest."""

from piccolo.constraints import Unique
from piccolo.table import Table

from idp.accounts.tables import User
from idp.ids import uuid7
from idp.infra.db.columns import JSONB, UUID, Bytea, ForeignKey, Integer, Text, Timestamptz, TimestamptzNow
from idp.infra.db.engine import engine


class UpstreamRow(Table, tablename="upstream", db=engine):
    """A provider that people may sign in with. ``config`` is that of :mod:`idp.federation.registry`.

    ``client_secret`` is sealed. ``position`` is the operator's order.
    """

    id = Text(primary_key=True)
    config = JSONB()
    client_secret = Bytea(null=True, secret=True)
    position = Integer()
    created_at = Timestamptz(default=TimestamptzNow())
    updated_at = Timestamptz(default=TimestamptzNow())
    disabled_at = Timestamptz(null=True)


class Identity(Table, tablename="identity", db=engine):
    """A user's account at an upstream provider: whoever is ``subject`` at ``issuer``, and nothing else, is this user.

    ``email`` is what the provider said last, to be shown. ``tokens`` are those of the provider, sealed, where the
    operator has them kept.
    """

    id = UUID(primary_key=True, default=uuid7)
    issuer = Text()
    subject = Text()
    user_id = ForeignKey(User, index=True)
    upstream_id = Text()
    email = Text(null=True)
    tokens = Bytea(null=True, secret=True)
    created_at = Timestamptz(default=TimestamptzNow())
    last_used_at = Timestamptz(null=True)

    one_user_each = Unique([issuer, subject])


class UpstreamAttempt(Table, tablename="upstream_attempt", db=engine):
    """A browser on its way to an upstream provider and back, once.

    It is named by the hash of ``state``; nonce and code verifier are derived from that. ``flow_id`` is the sign-in
    that it belongs to, or ``session_id`` the session that wants to link what it comes back with. ``auth_after`` is the
    moment after which the person must have signed in there, where that was asked for.
    """

    state_hash = Bytea(primary_key=True, secret=True)
    upstream_id = Text()
    flow_id = Text(null=True)
    session_id = UUID(null=True)
    acr = Text(null=True)
    auth_after = Timestamptz(null=True)
    created_at = Timestamptz(default=TimestamptzNow())
    expires_at = Timestamptz(index=True)
    consumed_at = Timestamptz(null=True)
