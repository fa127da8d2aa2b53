"""Request and response bodies of the operations on trusted issuers."""

from datetime import datetime
from typing import Any

from msgspec import UNSET, UnsetType

from idp.admin.api.models.base import Sent, Shown
from idp.oauth.issuers.models import Purpose, SubjectSource


class TrustedIssuer(Shown):
    """Another server whose tokens say who a user is (docs/trusted-issuers.md)."""

    id: str
    issuer: str
    jwks: dict[str, Any] | None
    jwks_uri: str | None
    algorithms: list[str]
    purposes: list[Purpose]
    clients: list[str]
    subject: SubjectSource
    email_domains: list[str]
    create_users: bool
    scope: str
    audiences: list[str]
    max_lifetime: int
    enabled: bool
    created_at: datetime
    updated_at: datetime


class TrustedIssuerChange(Sent):
    """Absent members keep their value. ``max_lifetime`` is in seconds."""

    jwks: dict[str, Any] | UnsetType | None = UNSET
    jwks_uri: str | UnsetType | None = UNSET
    algorithms: tuple[str, ...] | UnsetType = UNSET
    purposes: tuple[Purpose, ...] | UnsetType = UNSET
    clients: tuple[str, ...] | UnsetType = UNSET
    subject: SubjectSource | UnsetType = UNSET
    email_domains: tuple[str, ...] | UnsetType = UNSET
    create_users: bool | UnsetType = UNSET
    scope: str | UnsetType = UNSET
    audiences: tuple[str, ...] | UnsetType = UNSET
    max_lifetime: int | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class NewTrustedIssuer(TrustedIssuerChange, kw_only=True):
    """Without ``jwks`` and ``jwks_uri``, the discovery document of the issuer names its keys."""

    issuer: str
    purposes: tuple[Purpose, ...]
