"""Request and response bodies of the operations on ID-JAG policies."""

from datetime import datetime
from uuid import UUID

from idp.admin.api.models.base import Sent, Shown


class IdJagPolicy(Shown):
    """For whom a client gets identity assertions (docs/enterprise-authorization.md)."""

    id: UUID
    client_id: str
    audience: str
    audience_client_id: str
    relying_party: str | None
    resources: list[str]
    scope: str
    email: bool
    email_domains: list[str]
    user_ids: list[UUID]
    acr: str | None
    created_at: datetime


class NewIdJagPolicy(Sent):
    """``audience`` is the issuer of the other authorization server. Empty lists of domains and users: all users."""

    client_id: str
    audience: str
    audience_client_id: str
    relying_party: str | None = None
    resources: tuple[str, ...] = ()
    scope: str = ""
    email: bool = False
    email_domains: tuple[str, ...] = ()
    user_ids: tuple[UUID, ...] = ()
    acr: str | None = None
