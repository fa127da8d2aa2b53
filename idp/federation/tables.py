"""Tables: upstream providers, linked identities and their lookup, and pending authorization requests."""

from piccolo.constraints import Unique
from piccolo.table import Table

from idp.accounts.tables import User
from idp.directory.tables import OrganizationRow
from idp.ids import uuid7
from idp.infra.db.columns import (
    JSONB,
    UUID,
    Bytea,
    CompositeForeignKey,
    ForeignKey,
    Integer,
    PrimaryKey,
    Text,
    Timestamptz,
    TimestamptzNow,
)
from idp.infra.db.engine import engine


class UpstreamRow(Table, tablename="upstream", db=engine):
    """A provider. ``config`` is an :class:`idp.federation.models.Upstream` without its secret.

    ``client_secret`` is encrypted. ``position`` is the display order. With an ``organization_id`` it signs in the users
    of this organization only. ``check_due_at`` is when the users of a directory are compared with those here; null: as
    soon as possible. ``findings`` are those of the last test, at ``tested_at``; null since a change.
    """

    id = Text(primary_key=True)
    organization_id = ForeignKey(OrganizationRow, null=True, index=True)
    config = JSONB()
    client_secret = Bytea(null=True, secret=True)
    position = Integer()
    created_at = Timestamptz(default=TimestamptzNow())
    updated_at = Timestamptz(default=TimestamptzNow())
    disabled_at = Timestamptz(null=True)
    check_due_at = Timestamptz(null=True)
    tested_at = Timestamptz(null=True)
    findings = JSONB(null=True)


class Identity(Table, tablename="identity", db=engine):
    """An account of a user at a provider, identified by ``issuer`` and ``subject`` only.

    ``email`` is the last address that the provider reported, for display. ``tokens`` are the provider's tokens,
    encrypted, if the operator has them stored.
    """

    user_id = ForeignKey(User)
    id = UUID(default=uuid7)
    issuer = Text()
    subject = Text()
    upstream_id = Text()
    email = Text(null=True)
    tokens = Bytea(null=True, secret=True)
    created_at = Timestamptz(default=TimestamptzNow())
    last_used_at = Timestamptz(null=True)

    identity_pkey = PrimaryKey([user_id, id])  # noqa: A003
    identity_one_of_user = Unique([user_id, issuer, subject])


class UpstreamSubject(Table, tablename="upstream_subject", db=engine):
    """Lookup table: the user of an account at a provider, which is unique. Written with :class:`Identity`."""

    issuer = Text()
    subject = ForeignKey(Identity, target_column="subject")
    user_id = UUID()

    upstream_subject_pkey = PrimaryKey([issuer, subject])
    upstream_subject_user_id_issuer_subject_fkey = CompositeForeignKey([user_id, issuer, subject])


class UpstreamAttempt(Table, tablename="upstream_attempt", db=engine):
    """An authorization request to a provider, used once.

    The key is the hash of ``state``; nonce and code verifier are derived from the state. ``flow_id`` is the sign-in
    flow that it belongs to, or ``session_id`` the session that links an identity. ``auth_after`` is the time after
    which the user must have signed in at the provider, if that is required.
    """

    state_hash = Bytea(primary_key=True, secret=True)
    upstream_id = Text()
    flow_id = Text(null=True)
    session_id = UUID(null=True)
    acr = Text(null=True)
    auth_after = Timestamptz(null=True)
    created_at = Timestamptz(default=TimestamptzNow())
    expires_at = Timestamptz(index=True)
    consumed_at = Timestamptz(null=True)
