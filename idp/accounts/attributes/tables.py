"""Tables: the declared attributes, and the values of users."""

from piccolo.table import Table

from idp.accounts.tables import User
from idp.infra.db.columns import (
    JSONB,
    UUID,
    BigInt,
    Boolean,
    Date,
    DoublePrecision,
    ForeignKey,
    OnDelete,
    PrimaryKey,
    SmallInt,
    Text,
    Timestamptz,
    TimestamptzNow,
)
from idp.infra.db.engine import engine


class AttributeRow(Table, tablename="attribute", db=engine):
    """A declared attribute. ``config`` is the :class:`idp.accounts.attributes.models.Attribute` without its name."""

    name = Text(primary_key=True)
    config = JSONB()
    created_at = Timestamptz(default=TimestamptzNow())
    updated_at = Timestamptz(default=TimestamptzNow())
    #: Its values are being deleted. The name is taken until they are.
    deleted_at = Timestamptz(null=True, default=None)


class AttributeJob(Table, tablename="attribute_job", db=engine):
    """A change of all values of an attribute, and how far it is (:mod:`idp.accounts.attributes.jobs`).

    Not in the row of the declaration, which every change of a value holds.
    """

    attribute = ForeignKey(AttributeRow, primary_key=True)
    kind = Text()
    after_key = Text(null=True, default=None)
    after_user = UUID()
    done = BigInt()
    total = BigInt()
    started_at = Timestamptz()


class UserAttribute(Table, tablename="user_attribute", db=engine):
    """One value of an attribute of a user, in the column of its type. ``position`` is its place among several.

    ``search_key`` is what a search compares; null if the attribute is not searchable. ``origin`` is what set the value,
    such as ``upstream:<id>``; null: a user or an administrator.
    """

    user_id = ForeignKey(User)
    attribute = ForeignKey(AttributeRow, OnDelete.restrict)
    position = SmallInt()
    text_value = Text(null=True)
    number_value = DoublePrecision(null=True)
    boolean_value = Boolean(null=True)
    date_value = Date(null=True)
    search_key = Text(null=True)
    origin = Text(null=True)

    user_attribute_pkey = PrimaryKey([user_id, attribute, position])
