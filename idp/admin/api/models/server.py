"""Request and response bodies of the operations on keys, upstreams, settings and the audit trail."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from msgspec import UNSET, UnsetType

from idp.admin.api.models.base import Sent, Shown
from idp.admin.roles import Role
from idp.federation.models import Rule
from idp.keys.algorithms import DEFAULT_ALGORITHM
from idp.keys.lifecycle import KeyInfo
from idp.keys.propagation import Witness


class Key(Shown):
    """A signing key with the resource servers that have fetched it."""

    key: KeyInfo
    witnesses: list[Witness]


class Rotation(Sent):
    """``deadline``: seconds that the new key waits for resource servers that do not fetch it; null: no limit. ``now``:
    activate it immediately.
    """

    alg: str = DEFAULT_ALGORITHM
    size: Literal[2048, 3072, 4096] = 2048
    deadline: int | None = 86400
    now: bool = False


class UpstreamFinding(Shown):
    """The result of one check of a provider, as a sentence."""

    text: str
    passed: bool


class Upstream(Shown):
    """``organization_id``: it signs in the users of this organization only.

    ``tested_at``: the last test of this configuration.
    """

    id: str
    organization_id: UUID | None
    config: dict[str, Any]
    position: int
    has_client_secret: bool
    created_at: datetime
    updated_at: datetime
    disabled_at: datetime | None
    tested_at: datetime | None


class UpstreamTest(Shown):
    """The result of each check, and whether all passed."""

    passed: bool
    findings: list[UpstreamFinding]


class NewUpstream(Sent):
    """A provider; ``kind`` is oidc, google, github, microsoft, apple or ldap. ``client_secret`` is never shown again.

    Of a directory, ``client_id`` is the bind DN and ``client_secret`` its password.

    ``organization_id``: it signs in the users of this organization only, and never changes. ``adds_members``: they
    become members of it. ``organizations`` are those of GitHub. ``disabled``: it is not offered until it is enabled.
    """

    client_id: str
    kind: str = "oidc"
    id: str | None = None
    name: str | None = None
    issuer: str | None = None
    client_secret: str | None = None
    scope: str | None = None
    trust_email: bool = False
    creates_accounts: bool | None = None
    required_claims: dict[str, list[str]] = {}
    organizations: list[str] = []
    claims: dict[str, str] = {}
    mfa_acr: str | None = None
    keep_tokens: bool = False
    logout: bool = False
    options: dict[str, str] = {}
    rules: list[Rule] = []
    organization_id: UUID | None = None
    adds_members: bool = False
    disabled: bool = False


class UpstreamChange(Sent):
    """Absent members keep their value."""

    name: str | UnsetType = UNSET
    client_id: str | UnsetType = UNSET
    client_secret: str | UnsetType = UNSET
    scope: str | UnsetType = UNSET
    trust_email: bool | UnsetType = UNSET
    creates_accounts: bool | UnsetType | None = UNSET
    required_claims: dict[str, list[str]] | UnsetType = UNSET
    organizations: list[str] | UnsetType = UNSET
    claims: dict[str, str] | UnsetType = UNSET
    mfa_acr: str | UnsetType | None = UNSET
    keep_tokens: bool | UnsetType = UNSET
    logout: bool | UnsetType = UNSET
    options: dict[str, str] | UnsetType = UNSET
    rules: list[Rule] | UnsetType = UNSET
    adds_members: bool | UnsetType = UNSET


class Order(Sent):
    """The ids of upstreams in display order."""

    ids: list[str]


class AuditEvent(Shown):
    """``seq`` is the position in the trail; null until the next checkpoint."""

    id: UUID
    at: datetime
    event: str
    outcome: str
    actor: str
    user_id: UUID | None
    client_id: str | None
    session_id: UUID | None
    ip_address: str
    request_id: str
    detail: dict[str, Any]
    seq: int | None


class Setting(Shown):
    """A setting in effect. Values of secrets are masked. ``unit``: ``seconds`` for durations."""

    name: str
    value: str
    default: str
    secret: bool
    group: str
    unit: str | None
    help: str


class WhoAmI(Shown):
    actor: str
    roles: list[Role]
    permissions: list[str]
