"""Request and response bodies of the operations on provisioning targets."""

from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import UNSET, UnsetType

from idp.admin.api.models.base import Sent, Shown
from idp.provisioning.models import Drift, Match, Removal, State, Users


class ProvisioningTarget(Shown):
    """An application with a SCIM server, without its token. ``users`` says which users it gets: ``groups``,
    ``organization_id`` and ``client_id`` are what it refers to. ``mapping``: by SCIM attribute, its source.
    ``mends``: periodic checks also mend what they find.
    """

    id: UUID
    name: str
    base_url: str
    users: Users
    groups: list[UUID]
    organization_id: UUID | None
    client_id: str | None
    pushed_groups: list[UUID]
    mapping: dict[str, str]
    match: Match
    removal: Removal
    mends: bool
    disabled_at: datetime | None
    created_at: datetime
    updated_at: datetime


class NewProvisioningTarget(Sent):
    """``token``: the bearer token for its SCIM server. Without ``mapping`` it gets the usual attributes."""

    name: str
    base_url: str
    token: str
    users: Users = Users.ALL
    groups: tuple[UUID, ...] = ()
    organization_id: UUID | None = None
    client_id: str | None = None
    pushed_groups: tuple[UUID, ...] = ()
    mapping: dict[str, str] | UnsetType = UNSET
    match: Match = Match.USER_NAME
    removal: Removal = Removal.DEACTIVATE
    mends: bool = False


class ProvisioningTargetChange(Sent):
    """Absent members keep their value. Another ``base_url`` needs the ``token`` again."""

    name: str | UnsetType = UNSET
    base_url: str | UnsetType = UNSET
    token: str | UnsetType = UNSET
    users: Users | UnsetType = UNSET
    groups: list[UUID] | UnsetType = UNSET
    organization_id: UUID | UnsetType | None = UNSET
    client_id: str | UnsetType | None = UNSET
    pushed_groups: list[UUID] | UnsetType = UNSET
    mapping: dict[str, str] | UnsetType = UNSET
    match: Match | UnsetType = UNSET
    removal: Removal | UnsetType = UNSET
    mends: bool | UnsetType = UNSET


class ProvisioningToken(Sent):
    """The bearer token for the SCIM server of a target."""

    token: str


class ProvisioningFeatures(Shown):
    """The features of the SCIM server of a target."""

    patch: bool
    etag: bool
    cursor: bool


class ProvisioningJob(Shown):
    """A job: ``running``, ``stopped``, ``done`` or ``failed``. It has passed ``done`` of about ``total`` users."""

    kind: str
    id: UUID
    state: str
    done: int
    total: int | None
    counts: dict[str, Any]
    error: str
    started_at: datetime
    finished_at: datetime | None


class ProvisioningStatus(Shown):
    """How far a target is. Of its users, some are ``active`` there, some ``inactive``, and some were ``refused``.
    ``failing_reason``: why it refuses everything. ``waiting`` and ``dead`` deliveries are at most 1000 each.
    ``failures``: attempts that failed in a row.
    """

    active: int
    inactive: int
    refused: int
    failing_since: datetime | None
    failing_reason: str
    waiting: int
    dead: int
    delivered_at: datetime | None
    failures: int
    paused_until: datetime | None
    push: ProvisioningJob | None
    check: ProvisioningJob | None


class ProvisionedUser(Shown):
    """A user at a target, as last sent. ``queued``: a delivery waits. ``error``: why the last one was refused."""

    user_id: UUID
    remote_id: str | None
    state: State
    queued: bool
    error: str
    updated_at: datetime


class NewProvisioningCheck(Sent):
    """``mend``: also queue deliveries for what differs."""

    mend: bool = False


class ProvisioningDrift(Shown):
    """A difference between a target and this server, which the last check has found."""

    kind: Drift
    user_id: UUID | None
    group_id: UUID | None
    remote_id: str | None
    details: list[str]
