"""Users, and the queries on them."""

import uuid

from piccolo.columns import JSONB, UUID, Boolean, Text, Timestamptz
from piccolo.columns.defaults.timestamptz import TimestamptzNow
from piccolo.table import Table

from idp.db.engine import engine
from idp.ids import uuid7


class User(Table, tablename="users", db=engine):
    """A person. Its claims carry the names of OpenID Connect Core section 5.1; ``id`` is the ``sub``."""

    id = UUID(primary_key=True, default=uuid7)
    email = Text(unique=True)
    email_verified = Boolean(default=False)
    password_hash = Text(null=True, default=None, secret=True)
    name = Text(null=True, default=None)
    given_name = Text(null=True, default=None)
    family_name = Text(null=True, default=None)
    middle_name = Text(null=True, default=None)
    nickname = Text(null=True, default=None)
    preferred_username = Text(null=True, default=None)
    profile = Text(null=True, default=None)
    picture = Text(null=True, default=None)
    website = Text(null=True, default=None)
    gender = Text(null=True, default=None)
    birthdate = Text(null=True, default=None)
    zoneinfo = Text(null=True, default=None)
    locale = Text(null=True, default=None)
    phone_number = Text(null=True, default=None)
    phone_number_verified = Boolean(default=False)
    address = JSONB(null=True, default=None)
    created_at = Timestamptz(default=TimestamptzNow())
    updated_at = Timestamptz(default=TimestamptzNow())
    disabled_at = Timestamptz(null=True, default=None)


async def user_by_email(email: str) -> User | None:
    """The user of a normalised email address, disabled or not."""
    return await User.objects().where(User.email == email).first()


async def user_by_id(user_id: uuid.UUID) -> User | None:
    return await User.objects().where(User.id == user_id).first()
