"""Request and response bodies of the operations on webhooks."""

from datetime import datetime
from uuid import UUID

from msgspec import UNSET, UnsetType

from idp.admin.api.models.base import Sent, Shown


class Webhook(Shown):
    """``kinds``: the events that it gets; ``*``: all. ``whole``: it gets whole rows of the audit trail."""

    id: UUID
    url: str
    description: str
    kinds: list[str]
    whole: bool
    old_secret_until: datetime | None
    disabled_at: datetime | None
    created_at: datetime
    updated_at: datetime


class NewWebhook(Sent):
    url: str
    kinds: list[str]
    description: str = ""
    whole: bool = False


class WebhookChange(Sent):
    """Absent members keep their value."""

    url: str | UnsetType = UNSET
    kinds: list[str] | UnsetType = UNSET
    description: str | UnsetType = UNSET
    whole: bool | UnsetType = UNSET


class WebhookSecret(Shown):
    """The secret is shown once."""

    id: UUID
    secret: str


class QueuedDelivery(Shown):
    delivery_id: UUID
