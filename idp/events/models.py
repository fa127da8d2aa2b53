"""Webhooks and streams as the other modules see them."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from idp.events.kinds import ALL

PUSH: Final = "urn:ietf:rfc:8935"
POLL: Final = "urn:ietf:rfc:8936"


class Webhook(msgspec.Struct, frozen=True):
    """A URL that gets events.

    Attributes:
        kinds: names of :data:`idp.events.kinds.KINDS`, or ``*`` alone for all events of the audit trail.
        whole: whether it gets the whole rows of the audit trail, with addresses and details.
        old_secret_until: the time until which the secret before signs too.
    """

    id: UUID
    url: str
    description: str
    kinds: list[str]
    whole: bool
    old_secret_until: datetime | None
    disabled_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def stream(self) -> str:
        """The receiver, for the outbox."""
        return f"webhook:{self.id}"

    def wants(self, event: str) -> bool:
        return event in self.kinds or ALL in self.kinds


class Stream(msgspec.Struct, frozen=True):
    """A stream of security event tokens to a client (Shared Signals Framework section 8.1.1).

    Attributes:
        endpoint_url: where tokens are pushed; None: the receiver polls.
        events_requested: URIs of event types; those that are not supported are ignored.
        format: how users are named: ``iss_sub``, ``opaque`` or ``email``.
        status: ``enabled``, ``paused`` or ``disabled``.
    """

    id: UUID
    client_id: str
    description: str
    endpoint_url: str | None
    events_requested: list[str]
    format: str
    status: str
    status_reason: str
    verified_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def stream(self) -> str:
        """The receiver, for the outbox."""
        return f"ssf:{self.id}"

    @property
    def delivery(self) -> dict[str, Any]:
        return {"method": PUSH if self.endpoint_url else POLL}


class ManagedStream(msgspec.Struct, frozen=True):
    """A stream as administrators see it, with what is known of its deliveries.

    Attributes:
        endpoint_url: where tokens are pushed; None: the receiver polls.
        subjects: the number of users that the receiver added, at most 1000; None: it gets the events of all users.
        waiting: the number of tokens that are not acknowledged yet, at most 1000.
        dead: the number of dead letters, at most 1000.
        delivered_at: the time of the last acknowledgement.
        failures: how many attempts failed in a row.
        paused_until: the time of the next attempt, if the receiver failed.
    """

    id: UUID
    client_id: str
    description: str
    endpoint_url: str | None
    events_requested: list[str]
    format: str
    status: str
    status_reason: str
    subjects: int | None
    waiting: int
    dead: int
    delivered_at: datetime | None
    failures: int
    paused_until: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def stream(self) -> str:
        """The receiver, for the outbox."""
        return f"ssf:{self.id}"
