"""Tables: users, their addresses and roles, email proofs and invitations."""

from enum import StrEnum

from piccolo.constraints import Unique
from piccolo.table import Table

from idp.ids import uuid7
from idp.infra.db.columns import (
    JSONB,
    UUID,
    BigInt,
    Boolean,
    Bytea,
    ForeignKey,
    PrimaryKey,
    SmallInt,
    Text,
    Timestamptz,
    TimestamptzNow,
)
from idp.infra.db.engine import engine


class Origin(StrEnum):
    """How an account was created. Only ``registration`` and ``upstream`` are open to everyone."""

    REGISTRATION = "registration"
    UPSTREAM = "upstream"
    INVITATION = "invitation"
    #: By the command line, console, admin API or setup.
    OPERATOR = "operator"
    IMPORT = "import"
    #: By another system, over SCIM.
    SCIM = "scim"


class User(Table, tablename="users", db=engine):
    """A user. Claims have the names of OpenID Connect Core section 5.1; ``id`` is the ``sub``.

    ``two_step``: a sign-in requires a second factor. ``origin`` is an :class:`Origin`. ``directory_version`` increases
    with every change of the groups and roles that the user was given, and of the user's attributes. ``disabled_by`` is
    :data:`idp.accounts.users.ADMIN` or the origin of a SCIM client; None: unknown, which counts as an administrator.
    """

    id = UUID(primary_key=True, default=uuid7)
    email = Text()
    email_verified = Boolean(default=False)
    password_hash = Text(null=True, secret=True)
    name = Text(null=True)
    given_name = Text(null=True)
    family_name = Text(null=True)
    middle_name = Text(null=True)
    nickname = Text(null=True)
    preferred_username = Text(null=True)
    profile = Text(null=True)
    picture = Text(null=True)
    website = Text(null=True)
    gender = Text(null=True)
    birthdate = Text(null=True)
    zoneinfo = Text(null=True)
    locale = Text(null=True)
    phone_number = Text(null=True)
    phone_number_verified = Boolean(default=False)
    address = JSONB(null=True)
    two_step = Boolean(default=False)
    origin = Text()
    directory_version = BigInt(default=0)
    password_changed_at = Timestamptz(null=True)
    created_at = Timestamptz(default=TimestamptzNow())
    updated_at = Timestamptz(default=TimestamptzNow())
    disabled_at = Timestamptz(null=True)
    disabled_by = Text(null=True)


class UserEmail(Table, tablename="user_email", db=engine):
    """Lookup table: the user of a normalised email address, which is unique.

    Written with ``users.email`` in one statement, because the two tables refer to each other
    (docs/decisions/0050-lookups-and-lock-order.md).
    """

    email = Text(primary_key=True)
    user_id = ForeignKey(User)

    user_email_of_user = Unique([user_id, email])


class UserPicture(Table, tablename="user_picture", db=engine):
    """The uploaded picture of a user. ``users.picture`` is its URL."""

    user_id = ForeignKey(User, primary_key=True)
    media_type = Text()
    content = Bytea()
    updated_at = Timestamptz(default=TimestamptzNow())


class AdminRole(Table, tablename="admin_role", db=engine):
    """A role of :class:`idp.admin.roles.Role` that a user has."""

    user_id = ForeignKey(User)
    role = Text()
    id = UUID(default=uuid7)
    granted_by = Text()
    granted_at = Timestamptz(default=TimestamptzNow())

    admin_role_pkey = PrimaryKey([user_id, role])


class EmailProof(Table, tablename="email_proof", db=engine):
    """The code and the token of a mail that verifies an address. Used once.

    ``flow_id`` is the sign-in flow or session that the code is bound to. A flow has one live proof per purpose; without
    a flow, a user has. A decoy, for an address that no user has, has neither code nor token. ``purpose`` is a
    :class:`idp.accounts.email_proofs.Purpose`.
    """

    id = UUID(primary_key=True, default=uuid7)
    purpose = Text()
    flow_id = Text(null=True, index=True)
    user_id = ForeignKey(User, null=True, index=True)
    email = Text()
    code_hash = Bytea(null=True, secret=True)
    token_hash = Bytea(null=True, secret=True, unique=True)
    tries = SmallInt(default=0)
    created_at = Timestamptz(default=TimestamptzNow())
    expires_at = Timestamptz(index=True)
    consumed_at = Timestamptz(null=True)


class Invitation(Table, tablename="invitation", db=engine):
    """Permission to create an account for ``email``."""

    id = UUID(primary_key=True, default=uuid7)
    email = Text(index=True)
    name = Text(null=True)
    token_hash = Bytea(secret=True, unique=True)
    created_at = Timestamptz(default=TimestamptzNow(), index=True)
    expires_at = Timestamptz(index=True)
    consumed_at = Timestamptz(null=True)
