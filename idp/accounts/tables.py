"""Tables: users, email proofs and invitations."""

import uuid
from enum import StrEnum

import asyncpg
from piccolo.table import Table

from idp.ids import uuid7
from idp.infra.db.columns import (
    JSONB,
    UUID,
    Boolean,
    Bytea,
    ForeignKey,
    SmallInt,
    Text,
    Timestamptz,
    TimestamptzNow,
    all_columns,
)
from idp.infra.db.engine import engine, execute, fetchrow


class Origin(StrEnum):
    """How an account was created. Only ``registration`` and ``upstream`` are open to everybody."""

    REGISTRATION = "registration"
    UPSTREAM = "upstream"
    INVITATION = "invitation"
    #: By the command line, console, admin API or setup.
    OPERATOR = "operator"
    IMPORT = "import"


class User(Table, tablename="users", db=engine):
    """A user. Claims have the names of OpenID Connect Core section 5.1; ``id`` is the ``sub``.

    ``two_step``: a sign-in requires a second factor. ``origin`` is an :class:`Origin`.
    """

    id = UUID(primary_key=True, default=uuid7)
    email = Text(unique=True)
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
    password_changed_at = Timestamptz(null=True)
    created_at = Timestamptz(default=TimestamptzNow())
    updated_at = Timestamptz(default=TimestamptzNow())
    disabled_at = Timestamptz(null=True)


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
    created_at = Timestamptz(default=TimestamptzNow())
    expires_at = Timestamptz(index=True)
    consumed_at = Timestamptz(null=True)


_BY_EMAIL = f"SELECT {all_columns(User)} FROM users WHERE email = $1"  # noqa: S608
_BY_ID = f"SELECT {all_columns(User)} FROM users WHERE id = $1"  # noqa: S608


async def user_by_email(email: str) -> User | None:
    """Return the user of a normalised email address, disabled or not."""
    return _user(await fetchrow(_BY_EMAIL, email))


async def user_by_id(user_id: uuid.UUID) -> User | None:
    return _user(await fetchrow(_BY_ID, user_id))


def _user(row: asyncpg.Record | None) -> User | None:
    # As Piccolo would, which builds the same query anew each time.
    return User(_exists_in_db=True, **row) if row is not None else None


_LOCK = "SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE"
_LOCK_WITH_PASSWORD = """
    SELECT FROM users WHERE id = $1 AND password_hash = $2 AND disabled_at IS NULL FOR NO KEY UPDATE
"""
_UPGRADE_PASSWORD_HASH = "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2"
_CONFIRM_EMAIL = "UPDATE users SET email_verified = true WHERE id = $1 AND email = $2 AND disabled_at IS NULL"
_SET_TWO_STEP = "UPDATE users SET two_step = $2 WHERE id = $1 AND two_step <> $2"


async def lock_user(user_id: uuid.UUID) -> bool:
    """Lock a user until the end of the transaction. Returns whether there is such a user.

    Every change of a credential locks its user, so that a change and a sign-in happen one after the other.
    """
    return await fetchrow(_LOCK, user_id) is not None


async def lock_user_with_password(user_id: uuid.UUID, password_hash: str | None) -> bool:
    """As :func:`lock_user`. Returns whether the user is enabled and still has this password."""
    return await fetchrow(_LOCK_WITH_PASSWORD, user_id, password_hash) is not None


async def upgrade_password_hash(user_id: uuid.UUID, old: str | None, new: str) -> bool:
    """Replace the hash of a password by another hash of the same password, unless the password was changed."""
    return bool(await execute(_UPGRADE_PASSWORD_HASH, user_id, old, new))


async def confirm_email(user_id: uuid.UUID, email: str) -> bool:
    """Mark a user's address as verified. Returns False if the address is no longer theirs, or they are disabled."""
    return bool(await execute(_CONFIRM_EMAIL, user_id, email))


async def set_two_step(user_id: uuid.UUID, wanted: bool) -> bool:
    """Ask a user for a second factor at every sign-in, or stop asking. Returns whether this is a change."""
    return bool(await execute(_SET_TWO_STEP, user_id, wanted))
