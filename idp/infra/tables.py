"""The counters behind :mod:`idp.infra.rate_limits`."""

from piccolo.table import Table

from idp.infra.db.columns import Bytea, Integer, Text, Timestamptz
from idp.infra.db.engine import engine


class Throttle(Table, tablename="throttle", db=engine):
    """The counter of one subject under one rule.

    ``key`` is a digest of rule and subject, so no address is stored. ``free_at`` is when the next event is allowed;
    for a rate (generic cell rate algorithm), less the burst.
    """

    key = Bytea(primary_key=True)
    rule = Text()
    number = Integer()
    free_at = Timestamptz(index=True)
