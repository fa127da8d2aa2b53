"""The tables of provisioning targets, and of what is provisioned there.

A user or a group may be deleted here while it still has to be removed there, so that these tables do not refer to them.
"""

from piccolo.constraints import Unique
from piccolo.table import Table

from idp.ids import uuid7
from idp.infra.db.columns import (
    JSONB,
    UUID,
    Array,
    BigInt,
    Boolean,
    Bytea,
    ForeignKey,
    Integer,
    PrimaryKey,
    Text,
    Timestamptz,
    TimestamptzNow,
)
from idp.infra.db.engine import engine


class ProvisioningTargetRow(Table, tablename="provisioning_target", db=engine):
    """An application with a SCIM server: :class:`idp.provisioning.models.Target`.

    ``token`` is encrypted. ``features`` is what its ServiceProviderConfig says, read at ``features_at``. It is failing
    since ``failing_since``, for ``failing_reason``.
    """

    id = UUID(primary_key=True, default=uuid7)
    name = Text(unique=True)
    base_url = Text()
    token = Bytea(secret=True)
    users = Text()
    groups = Array(UUID())
    organization_id = UUID(null=True)
    client_id = Text(null=True)
    pushed_groups = Array(UUID())
    mapping = JSONB()
    match = Text()
    removal = Text()
    mends = Boolean(default=False)
    features = JSONB(null=True)
    features_at = Timestamptz(null=True)
    failing_since = Timestamptz(null=True)
    failing_reason = Text()
    disabled_at = Timestamptz(null=True)
    created_at = Timestamptz(default=TimestamptzNow())
    updated_at = Timestamptz(default=TimestamptzNow())


class ProvisionedUser(Table, tablename="provisioned_user", db=engine):
    """A user at a target, or one who may have to be there.

    ``state`` is absent, active or inactive, as last sent. ``sent_hash`` is the hash of what was sent; null: unknown.
    ``revision`` increases with every attempt; an attempt holds the row until ``claimed_until``. A delivery is queued
    until ``queued_until``.
    """

    user_id = UUID()
    target_id = ForeignKey(ProvisioningTargetRow)
    remote_id = Text(null=True)
    state = Text()
    sent_hash = Bytea(null=True)
    error = Text()
    revision = BigInt(default=0)
    claimed_until = Timestamptz(null=True)
    queued_until = Timestamptz(null=True)
    queued_urgent = Boolean(default=False)
    seen_in = UUID(null=True)
    updated_at = Timestamptz(default=TimestamptzNow())

    provisioned_user_pkey = PrimaryKey([user_id, target_id])
    provisioned_user_of_remote = Unique([target_id, remote_id])


class ProvisionedGroup(Table, tablename="provisioned_group", db=engine):
    """A group at a target. The columns are those of :class:`ProvisionedUser`."""

    group_id = UUID()
    target_id = ForeignKey(ProvisioningTargetRow)
    remote_id = Text(null=True)
    state = Text()
    sent_hash = Bytea(null=True)
    error = Text()
    revision = BigInt(default=0)
    claimed_until = Timestamptz(null=True)
    queued_until = Timestamptz(null=True)
    queued_urgent = Boolean(default=False)
    seen_in = UUID(null=True)
    updated_at = Timestamptz(default=TimestamptzNow())

    provisioned_group_pkey = PrimaryKey([group_id, target_id])
    provisioned_group_of_remote = Unique([target_id, remote_id])


class ProvisionedMember(Table, tablename="provisioned_member", db=engine):
    """A user who is a member of a group at a target, as last sent."""

    user_id = UUID()
    target_id = ForeignKey(ProvisioningTargetRow)
    group_id = UUID()

    provisioned_member_pkey = PrimaryKey([user_id, target_id, group_id])


class ProvisioningJobRow(Table, tablename="provisioning_job", db=engine):
    """The last job of a kind at a target: ``push`` or ``check``.

    ``state`` is running, stopped, done or failed. ``cursor`` is how far ``phase`` is. ``again``: it begins again
    when it is done. ``holder`` works on it until ``next_run_at``, at which others may.
    """

    target_id = ForeignKey(ProvisioningTargetRow)
    kind = Text()
    id = UUID()
    state = Text()
    phase = Text()
    cursor = Text()
    done = BigInt(default=0)
    total = BigInt(null=True)
    counts = JSONB()
    mend = Boolean(default=False)
    again = Boolean(default=False)
    attempts = Integer(default=0)
    error = Text()
    holder = UUID(null=True)
    started_at = Timestamptz()
    finished_at = Timestamptz(null=True)
    next_run_at = Timestamptz(null=True, index=True)

    provisioning_job_pkey = PrimaryKey([target_id, kind])


class ProvisioningDrift(Table, tablename="provisioning_drift", db=engine):
    """A difference that a check has found. ``kind`` is a member of :class:`idp.provisioning.models.Drift`."""

    id = UUID(primary_key=True, default=uuid7)
    target_id = ForeignKey(ProvisioningTargetRow)
    check_id = UUID()
    kind = Text()
    user_id = UUID(null=True)
    group_id = UUID(null=True)
    remote_id = Text(null=True)
    details = Array(Text())
