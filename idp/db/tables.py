"""The revision numbers behind :mod:`idp.db.notices`."""

from piccolo.columns import BigInt, Text
from piccolo.table import Table

from idp.db.engine import engine


class Revision(Table, tablename="revision", db=engine):
    """How often the records of one topic were changed."""

    topic = Text(primary_key=True)
    number = BigInt(default=0)
