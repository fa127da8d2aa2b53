"""Request and response bodies of the operations on token hooks."""

from datetime import datetime
from uuid import UUID

from msgspec import UNSET, UnsetType

from idp.admin.api.models.base import Sent, Shown
from idp.oauth.claims.models import Place


class TokenHook(Shown):
    """``client_id``: null for the hook of every client without one of its own. ``fail_open``: whether tokens are issued
    without its claims if it fails.
    """

    id: UUID
    client_id: str | None
    url: str
    places: tuple[Place, ...]
    fail_open: bool
    old_secret_until: datetime | None
    disabled_at: datetime | None
    created_at: datetime
    updated_at: datetime


class NewTokenHook(Sent):
    """Without ``client_id`` it is for every client without a hook of its own."""

    url: str
    client_id: str | None = None
    places: tuple[Place, ...] = (Place.ACCESS_TOKEN, Place.ID_TOKEN)
    fail_open: bool = False


class TokenHookChange(Sent):
    """Absent members keep their value."""

    url: str | UnsetType = UNSET
    places: tuple[Place, ...] | UnsetType = UNSET
    fail_open: bool | UnsetType = UNSET


class TokenHookSecret(Shown):
    """The secret is shown once."""

    id: UUID
    secret: str
