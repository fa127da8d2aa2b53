"""The counters behind :mod:`idp.infra.rate_limits`."""

from piccolo.columns import Boolean, Bytea, DoublePrecision, Integer, Text, Timestamptz
from piccolo.table import Table

from idp.infra.db.engine import engine


class Throttle(Table, tablename="throttle", db=engine):
    """How often one subject did what one rule limits.

    ``key`` is a digest of rule and subject: no address is kept. ``free_at`` is when the next event is free, in a rate's
    case (generic cell rate algorithm) less what may come at once. ``interval``, ``tolerance`` and ``refused`` are
    written by servers of the release before this one only.
    """

    key = Bytea(primary_key=True)
    rule = Text()
    number = Integer(default=0)
    interval = DoublePrecision(default=0.0)
    tolerance = DoublePrecision(default=0.0)
    refused = Boolean(default=False)
    free_at = Timestamptz(index=True)
