"""The table of the types of authorization details."""

from piccolo.table import Table

from idp.ids import uuid7_text
from idp.infra.db.columns import JSONB, Boolean, ForeignKey, Text, Timestamptz, TimestamptzNow
from idp.infra.db.engine import engine
from idp.oauth.clients.tables import ResourceServerRow


class DetailsTypeRow(Table, tablename="authorization_details_type", db=engine):
    """A type of authorization details: :class:`idp.oauth.details.models.DetailsType`."""

    type = Text(primary_key=True)
    id = Text(default=uuid7_text, unique=True)
    resource = ForeignKey(ResourceServerRow, index=True)
    title = Text()
    summary = Text()
    schema = JSONB()
    ask_always = Boolean()
    created_at = Timestamptz(default=TimestamptzNow())
    updated_at = Timestamptz(default=TimestamptzNow())
