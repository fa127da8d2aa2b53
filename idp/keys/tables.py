"""Tables of signing keys, of the root key that encrypts them, and of JWKS fetches."""

from piccolo.constraints import Unique
from piccolo.table import Table

from idp.ids import uuid7
from idp.infra.db.columns import (
    JSONB,
    UUID,
    Array,
    BigInt,
    Bytea,
    DoublePrecision,
    SmallInt,
    Text,
    Timestamptz,
    TimestamptzNow,
)
from idp.infra.db.engine import engine


class RootKey(Table, tablename="root_key", db=engine):
    """The root key of this database, encrypted under a master key. Two rows while the master key is being replaced."""

    master_key_id = Bytea(primary_key=True)
    sealed = Bytea(secret=True)
    created_at = Timestamptz(default=TimestamptzNow())


class SigningKeyRow(Table, tablename="signing_key", db=engine):
    """A signing key. Its state follows from its times, so every replica switches at the same moment.

    It is pending while ``activates_at`` is unset or in the future, then active until another key of its algorithm is
    activated, then retiring until ``retires_at``; until then it is published. At ``deadline_at`` it is activated even
    if not all resource servers have fetched it; unset, it waits for all. ``signed`` counts its tokens, the last of
    which expires at ``last_token_expires_at``. A destroyed key has no private part.
    """

    kid = Text(primary_key=True)
    alg = Text(index=True)
    public_jwk = JSONB()
    private_jwk = Bytea(null=True, secret=True)
    created_at = Timestamptz(default=TimestamptzNow())
    deadline_at = Timestamptz(null=True)
    activates_at = Timestamptz(null=True)
    retires_at = Timestamptz(null=True)
    revoked_at = Timestamptz(null=True)
    destroyed_at = Timestamptz(null=True)
    signed = BigInt(default=0)
    last_token_expires_at = Timestamptz(null=True)


class JwksFetch(Table, tablename="jwks_fetch", db=engine):
    """Fetches of the JWKS by one instance of a resource server: when, and which keys the last one contained.

    ``instance`` is address and user agent. ``period`` is the smoothed time between its fetches in seconds, unset before
    the second.
    """

    id = UUID(primary_key=True, default=uuid7)
    resource_server = Text(index=True)
    instance = Text()
    address = Text()
    user_agent = Text()
    kids = Array(Text())
    fetches = BigInt()
    period = DoublePrecision(null=True)
    first_at = Timestamptz()
    last_at = Timestamptz(index=True)

    one_per_instance = Unique([resource_server, instance])


class DatabaseMark(Table, tablename="database_mark", db=engine):
    """One row: epoch and number of this database. Those of a restored backup are lower than the marks outside.

    ``number`` rises every few seconds of operation. ``epoch`` rises after each restore of a backup: it began at
    ``restored_at`` with the number ``begun``.
    """

    id = SmallInt(primary_key=True)
    epoch = BigInt()
    begun = BigInt()
    number = BigInt()
    at = Timestamptz()
    restored_at = Timestamptz(null=True)
