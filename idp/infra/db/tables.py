"""The revision numbers behind :mod:`idp.infra.db.cache_invalidation`."""

from piccolo.table import Table

from idp.infra.db.columns import BigInt, Text
from idp.infra.db.engine import engine


class Revision(Table, tablename="revision", db=engine):
    """How often the records of one topic were changed."""

    topic = Text(primary_key=True)
    number = BigInt()
