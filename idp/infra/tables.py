"""The counters behind :mod:`idp.infra.rate_limits`."""

from piccolo.table import Table

from idp.infra.db.columns import Bytea, Integer, Text, Timestamptz
from idp.infra.db.engine import engine


class Throttle(Table, tablename="throttle", db=engine):
    """How often one subject did what one rule limits.

    ``key`` is a digest of rule and subject: no address is kept. ``free_at`` is when the next event is free, in a rate's
    case (generic cell rate algorithm) less what may come at once.
    """

    key = Bytea(primary_key=True)
    rule = Text()
    number = Integer()
    free_at = Timestamptz(index=True)
