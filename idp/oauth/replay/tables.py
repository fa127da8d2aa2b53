"""The table of used values."""

from piccolo.table import Table

from idp.infra.db.columns import UUID, PrimaryKey, SmallInt
from idp.infra.db.engine import engine


class UsedJWT(Table, tablename="used_jwt", db=engine):
    """A signed value that was used. ``key`` is half of a SHA-256 over what identifies it.

    A row for each ``slot`` of ten minutes in which the value is valid. Each slot is a partition, which is emptied as a
    whole (docs/decisions/0052-replay-store.md).
    """

    slot = SmallInt()
    key = UUID()

    used_jwt_pkey = PrimaryKey([slot, key])
