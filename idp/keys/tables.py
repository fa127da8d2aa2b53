"""Signing keys at rest, the root key that seals them, and who has seen them."""

from piccolo.columns import JSONB, UUID, Array, BigInt, Bytea, DoublePrecision, SmallInt, Text, Timestamptz
from piccolo.columns.defaults.timestamptz import TimestamptzNow
from piccolo.constraints import Unique
from piccolo.table import Table

from idp.ids import uuid7
from idp.infra.db.engine import engine


class RootKey(Table, tablename="root_key", db=engine):
    """The root key of this database, sealed by a master key. Two rows while one master key takes over from another."""

    master_key_id = Bytea(primary_key=True)
    sealed = Bytea(secret=True)
    created_at = Timestamptz(default=TimestamptzNow())


class SigningKeyRow(Table, tablename="signing_key", db=engine):
    """A signing key. Its state follows from its times, so every replica switches at the same moment.

    Published and pending while ``activates_at`` is unset or to come; signing until a younger key of its algorithm
    activates; published for verification until ``retires_at``. ``deadline_at`` is when it activates whoever has not
    seen it; unset, it waits for all. ``signed`` counts its tokens, of which the last expires at
    ``last_token_expires_at``. Once it is destroyed, its private part is gone.
    """

    kid = Text(primary_key=True)
    alg = Text(index=True)
    public_jwk = JSONB()
    private_jwk = Bytea(null=True, default=None, secret=True)
    created_at = Timestamptz(default=TimestamptzNow())
    deadline_at = Timestamptz(null=True, default=None)
    activates_at = Timestamptz(null=True, default=None)
    retires_at = Timestamptz(null=True, default=None)
    revoked_at = Timestamptz(null=True, default=None)
    destroyed_at = Timestamptz(null=True, default=None)
    signed = BigInt(default=0)
    last_token_expires_at = Timestamptz(null=True, default=None)


class JwksFetch(Table, tablename="jwks_fetch", db=engine):
    """What one instance of a resource server fetched of the JWKS: when, and which keys it has seen since.

    ``instance`` tells the machines of a resource server apart, by address and user agent. ``period`` is the time
    between its fetches, in seconds, smoothed; unset until there were two.
    """

    id = UUID(primary_key=True, default=uuid7)
    resource_server = Text(index=True)
    instance = Text()
    address = Text(default="")
    user_agent = Text(default="")
    kids = Array(Text())
    fetches = BigInt(default=0)
    period = DoublePrecision(null=True, default=None)
    first_at = Timestamptz(default=TimestamptzNow())
    last_at = Timestamptz(default=TimestamptzNow(), index=True)

    one_per_instance = Unique([resource_server, instance])


class DatabaseMark(Table, tablename="database_mark", db=engine):
    """One row: how far this database has come. A restored backup has come less far than the marks outside say.

    ``epoch`` rises each time a backup was restored, at ``restored_at``, from the number ``begun`` on; ``number`` rises
    every few seconds of operation.
    """

    id = SmallInt(primary_key=True, default=1)
    epoch = BigInt(default=0)
    begun = BigInt(default=0)
    number = BigInt(default=0)
    at = Timestamptz(default=TimestamptzNow())
    restored_at = Timestamptz(null=True, default=None)
