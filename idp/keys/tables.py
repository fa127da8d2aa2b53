"""Signing keys at rest."""

from piccolo.columns import JSONB, Bytea, Text, Timestamptz
from piccolo.columns.defaults.timestamptz import TimestamptzNow
from piccolo.table import Table

from idp.db.engine import engine


class SigningKeyRow(Table, tablename="signing_key", db=engine):
    """A signing key. Its state follows from its times, so every replica switches at the same moment.

    Published and pending until ``activates_at``; signing until a younger key of its algorithm activates; published
    for verification until ``retires_at`` (unset while no successor is known).
    """

    kid = Text(primary_key=True)
    alg = Text(index=True)
    public_jwk = JSONB()
    private_jwk = Bytea(secret=True)
    created_at = Timestamptz(default=TimestamptzNow())
    activates_at = Timestamptz()
    retires_at = Timestamptz(null=True, default=None)
