"""Recording security-relevant events, as a row of the audit trail and a line in the log."""

from collections.abc import Sequence
from typing import Any, TypedDict, Unpack
from uuid import UUID

import msgspec
import structlog

from idp import clock, ids
from idp.audit import activity, buffer, row_hmac, unauthenticated_limit
from idp.audit.repository import audit_events
from idp.audit.row_hmac import Row
from idp.infra.metrics.declared import Counter
from idp.infra.observers import observing
from idp.infra.request_context import actor, client_address, request_id

log = structlog.get_logger()

EVENTS = Counter("idp_events", "Audit events, also those that were rolled back.", "event", "outcome")

#: Length to which a client_id is cut. An unknown one may have any length.
MAX_CLIENT_ID = 200


class About(TypedDict, total=False):
    """The subject and the outcome of an event.

    Attributes:
        outcome: ``success`` (the default), ``failure`` or ``denied``.
        detail: further values, as JSON. No secrets: it is kept long and shown to administrators.
        private: values for those who subscribed to the event (:mod:`idp.events`). The trail does not keep them: they
            are deleted when the event is published. Not for :func:`note`.
        limit_key: for events of unauthenticated requests: the account or address that it concerns. The number of events
            per key and minute is limited (:mod:`idp.audit.unauthenticated_limit`).
    """

    outcome: str
    user_id: UUID | None
    client_id: str | None
    session_id: UUID | None
    detail: dict[str, Any]
    private: dict[str, str]
    limit_key: str | None


async def record(event: str, **about: Unpack[About]) -> UUID | None:
    """Record an event in the caller's transaction, so that it commits with the change it describes.

    The log line is written at once, even if the transaction is rolled back.

    Returns:
        the id of the event; None if it is over the limit of its ``limit_key``.

    Args:
        event: its kind, such as ``sign_in`` or ``token_family_revoked``.

    Raises:
        LockedError: the master key is missing.
    """
    row = _row(event, about)
    if row is not None:
        private = about.get("private")
        text = msgspec.json.encode(storable(private)).decode() if private else None
        await audit_events.insert_event(row, row_hmac.content_hash(row), text)
    return row.id if row is not None else None


async def record_many(event: str, subjects: Sequence[tuple[str | None, About]]) -> None:
    """Record events of one kind in the caller's transaction, by one statement.

    Args:
        subjects: of each event the actor, because this process may record what another one did, and the rest. None: the
            actor of this request.
    """
    rows = [row for by, about in subjects if (row := _row(event, about, by=by)) is not None]
    if rows:
        await audit_events.insert_events([(row, row_hmac.content_hash(row)) for row in rows])


@observing("audit_buffer")
def note(event: str, **about: Unpack[About]) -> None:
    """Record an event without a transaction. It is written within a second."""
    row = _row(event, about)
    if row is not None:
        buffer.add(row)


def note_left_out() -> None:
    """Record how many events of unauthenticated requests were not written because of the limit."""
    for event, number in unauthenticated_limit.left_out().items():
        note("events_left_out", detail={"event": event, "number": number})


def _row(event: str, about: About, *, by: str | None = None) -> Row | None:
    """Return the row to write; None if it is over the limit.

    Args:
        by: the actor; None: that of the request.
    """
    outcome, detail = about.get("outcome", "success"), about.get("detail", {})
    client_id, limit_key = about.get("client_id"), about.get("limit_key")
    activity.count(f"{event}:{outcome}")
    EVENTS.add(event, outcome)
    if limit_key is not None and not unauthenticated_limit.admitted(event, limit_key):
        return None
    row = Row(
        ids.uuid7(),
        clock.now(),
        event,
        outcome,
        storable(actor.get() if by is None else by),
        about.get("user_id"),
        client_id and storable(client_id[:MAX_CLIENT_ID]),
        about.get("session_id"),
        storable(client_address.get()),
        storable(request_id.get()),
        msgspec.json.encode(storable(detail)).decode(),
    )
    _log(row, detail.get("reason"))
    return row


def _log(row: Row, reason: str | None = None) -> None:
    log.info(
        "audit",
        audit_event=row.event,
        outcome=row.outcome,
        user_id=str(row.user_id) if row.user_id else None,
        client_id=row.client_id,
        session_id=str(row.session_id) if row.session_id else None,
        reason=reason,
    )


def storable(value: Any) -> Any:
    """Return a value without characters that PostgreSQL cannot store: NUL and lone surrogates."""
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {storable(name): storable(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [storable(item) for item in value]
    return value
