"""An access policy, its conditions, and hours of the week."""

from datetime import datetime
from uuid import UUID

import msgspec

from idp.accounts.attributes.models import Value

#: In the order of :meth:`datetime.datetime.weekday`.
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Window(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A time of the week: some weekdays, from ``start`` until before ``end``.

    Attributes:
        start, end: hours and minutes, such as ``08:30``. The end may be ``24:00``.
    """

    days: tuple[str, ...]
    start: str = "00:00"
    end: str = "24:00"

    def __contains__(self, local: datetime) -> bool:
        """Return whether a time is in the window, by the clock of its time zone."""
        return DAYS[local.weekday()] in self.days and self.start <= local.strftime("%H:%M") < self.end


class Conditions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The conditions of a policy that are stored as they are. An empty one always holds.

    Attributes:
        attributes: by name, values: of each attribute a user must have one of them.
        acr: the lowest level that a sign-in must have reached.
        networks: a person must be in one of them, such as ``192.0.2.0/24``.
        times: the hours of the week, by the clock of ``time_zone``.
    """

    attributes: dict[str, tuple[Value, ...]] = {}
    acr: str | None = None
    networks: tuple[str, ...] = ()
    times: tuple[Window, ...] = ()
    time_zone: str = "UTC"


class AccessPolicy(Conditions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The access policy of a client. All its conditions must hold.

    Attributes:
        groups: a user must be in one of them, or in a group below it.
        organizations: a user must be a member of one of them.
        roles: a user must have one of them, directly, by a group or by another role.
        updated_at: its version.
    """

    client_id: str
    groups: tuple[UUID, ...] = ()
    organizations: tuple[UUID, ...] = ()
    roles: tuple[UUID, ...] = ()
    updated_at: datetime
