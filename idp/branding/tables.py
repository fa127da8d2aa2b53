"""Tables of brandings."""

from piccolo.columns.reference import LazyTableReference
from piccolo.table import Table

from idp.infra.db.columns import UUID, Array, Bytea, ForeignKey, Text, Timestamptz, TimestamptzNow
from idp.infra.db.engine import engine


class BrandingVersion(Table, tablename="branding_version", db=engine):
    """A version of the branding of a client, of an organization, or of the server.

    ``document`` is a :class:`idp.branding.models.Branding` as JSON; null: it was removed. ``pictures`` are those that
    it refers to. ``replaced_at`` is null for the current one.
    """

    id = UUID(primary_key=True)
    client_id = ForeignKey(LazyTableReference("ClientRow", module_path="idp.oauth.clients.tables"), null=True)
    organization_id = ForeignKey(LazyTableReference("OrganizationRow", module_path="idp.directory.tables"), null=True)
    document = Text(null=True)
    pictures = Array(Text())
    actor = Text()
    created_at = Timestamptz(default=TimestamptzNow())
    replaced_at = Timestamptz(null=True)


class BrandingPicture(Table, tablename="branding_picture", db=engine):
    """An uploaded picture. Nobody finds it without its SHA-256."""

    sha256 = Text(primary_key=True)
    media_type = Text()
    content = Bytea()
    created_at = Timestamptz(default=TimestamptzNow())
