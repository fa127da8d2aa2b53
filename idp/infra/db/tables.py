"""The tables of :mod:`idp.infra.db.cache_invalidation` and :mod:`idp.infra.db.locks`."""

from piccolo.table import Table

from idp.infra.db.columns import BigInt, Text
from idp.infra.db.engine import engine


class Revision(Table, tablename="revision", db=engine):
    """How often the records of one topic were changed."""

    topic = Text(primary_key=True)
    number = BigInt()


class TransactionLock(Table, tablename="transaction_lock", db=engine):
    """A lock that transactions take by name."""

    name = Text(primary_key=True)
