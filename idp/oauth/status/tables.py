"""The table of what was deleted while access tokens of it were valid."""

from piccolo.table import Table

from idp.infra.db.columns import Text, Timestamptz
from idp.infra.db.engine import engine


class Tombstone(Table, tablename="tombstone", db=engine):
    """A deleted client, or a token family of a deleted user, until its last access token has expired.

    ``id`` is the ``client_id``, or the first part of the ``jti`` of the access tokens of the family.
    """

    id = Text(primary_key=True)
    expires_at = Timestamptz(index=True)
