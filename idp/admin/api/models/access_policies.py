"""Request and response bodies of the operations on access policies (docs/access-policy.md)."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from idp.accounts.attributes.models import Value
from idp.admin.api.models.base import Sent, Shown
from idp.reasons import Reason

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class TimesShown(Shown):
    """Hours of some weekdays, from ``start`` until before ``end``."""

    days: tuple[str, ...]
    start: str
    end: str


class AccessPolicy(Shown):
    """Who may use a client: all conditions must hold. Empty conditions hold for everybody.

    ``updated_at`` is null for a client without a policy.
    """

    client_id: str
    groups: tuple[UUID, ...]
    organizations: tuple[UUID, ...]
    roles: tuple[UUID, ...]
    attributes: dict[str, tuple[Value, ...]]
    acr: str | None
    networks: tuple[str, ...]
    times: tuple[TimesShown, ...]
    time_zone: str
    updated_at: datetime | None


class Times(Sent):
    """``start`` and ``end``: such as 08:30, up to 24:00."""

    days: tuple[Day, ...]
    start: str = "00:00"
    end: str = "24:00"


class NewAccessPolicy(Sent):
    """The whole policy. What is left out is no condition. ``attributes``: the values by name."""

    groups: tuple[UUID, ...] = ()
    organizations: tuple[UUID, ...] = ()
    roles: tuple[UUID, ...] = ()
    attributes: dict[str, tuple[Value, ...]] = msgspec.field(default_factory=dict)
    acr: str | None = None
    networks: tuple[str, ...] = ()
    times: tuple[Times, ...] = ()
    time_zone: str = "UTC"


class AccessQuestion(Sent):
    """``address``: null: networks are not compared. ``at``: null: now. ``acr``: null: the level is not compared."""

    user_id: UUID
    address: str | None = None
    at: Annotated[datetime, Meta(tz=True)] | None = None
    acr: Literal["1", "2", "phr"] | None = None


class AccessAnswer(Shown):
    """``reasons``: all that speak against the user; empty if they may use the client. ``hidden_attribute``: the policy
    compares an attribute that you may not see, which is left out here. Then ``allowed`` is null, unless something else
    speaks against the user.
    """

    allowed: bool | None
    reasons: list[Reason]
    hidden_attribute: bool
