"""Recording what matters to security: a row that stays, and a line in the log."""

from typing import Any
from uuid import UUID

import msgspec
import structlog

from idp import clock, ids
from idp.audit import activity, buffer, repository, row_hmac, unauthenticated_limit
from idp.audit.row_hmac import Row
from idp.infra.request_context import actor, client_address, request_id

log = structlog.get_logger()

#: As much of a client_id that somebody made up is kept.
MAX_CLIENT_ID = 200

#: Inserts an event, as part of a statement of the caller. Its parameters are those of :func:`values`.
INSERT = repository.INSERT_EVENT


async def record(
    event: str,
    *,
    outcome: str = "success",
    user_id: UUID | None = None,
    client_id: str | None = None,
    session_id: UUID | None = None,
    detail: dict[str, Any] | None = None,
    limit_key: str | None = None,
) -> None:
    """Record an event in the caller's transaction: with the change that it speaks of, or not at all.

    The line in the log is written at once, whatever becomes of the transaction.

    Args:
        event: what happened, as ``sign_in`` or ``token_family_revoked``.
        outcome: ``success``, ``failure`` or ``denied``.
        detail: what else to know, JSON only. No secrets: it is kept for long and shown to many.
        limit_key: for an event that can be caused without signing in: whom it concerns, such as an account or an
            address. Only a limited number per key and minute is written (:mod:`idp.audit.unauthenticated_limit`).

    Raises:
        LockedError: the master key is missing.
    """
    row = _row(
        event,
        outcome=outcome,
        user_id=user_id,
        client_id=client_id,
        session_id=session_id,
        detail=detail,
        limit_key=limit_key,
    )
    if row is not None:
        await repository.insert_event(row, row_hmac.content_hash(row))


def note(
    event: str,
    *,
    outcome: str = "success",
    user_id: UUID | None = None,
    client_id: str | None = None,
    session_id: UUID | None = None,
    detail: dict[str, Any] | None = None,
    limit_key: str | None = None,
) -> None:
    """Record an event that no change goes with, within a second. Arguments as of :func:`record`."""
    row = _row(
        event,
        outcome=outcome,
        user_id=user_id,
        client_id=client_id,
        session_id=session_id,
        detail=detail,
        limit_key=limit_key,
    )
    if row is not None:
        buffer.add(row)


def note_left_out() -> None:
    """Record how many events of unauthenticated requests were left out."""
    for event, number in unauthenticated_limit.left_out().items():
        note("events_left_out", detail={"event": event, "number": number})


def _row(
    event: str,
    *,
    outcome: str,
    user_id: UUID | None,
    client_id: str | None,
    session_id: UUID | None,
    detail: dict[str, Any] | None,
    limit_key: str | None,
) -> Row | None:
    """The row to write, if it is to be written."""
    activity.count(f"{event}:{outcome}")
    if limit_key is not None and not unauthenticated_limit.admitted(event, limit_key):
        return None
    row = make(event, outcome=outcome, user_id=user_id, client_id=client_id, session_id=session_id, detail=detail or {})
    _log(row, detail.get("reason") if detail else None)
    return row


def make(
    event: str,
    *,
    outcome: str = "success",
    user_id: UUID | None = None,
    client_id: str | None = None,
    session_id: UUID | None = None,
    detail: dict[str, Any],
) -> Row:
    """An event that a statement of the caller's is to write (:data:`INSERT`). Then :func:`tell`. Arguments as of
    :func:`record`.
    """
    return Row(
        ids.uuid7(),
        clock.now(),
        event,
        outcome,
        storable(actor.get()),
        user_id,
        client_id and storable(client_id[:MAX_CLIENT_ID]),
        session_id,
        storable(client_address.get()),
        storable(request_id.get()),
        msgspec.json.encode(storable(detail)).decode(),
    )


def values(row: Row) -> dict[str, object]:
    """The parameters of :data:`INSERT`.

    Raises:
        LockedError: the master key is missing. No row is written without its hash, so a row without one was changed.
    """
    return repository.parameters(row, row_hmac.content_hash(row))


def tell(row: Row) -> None:
    """Count what was written by the caller, and say it in the log."""
    activity.count(f"{row.event}:{row.outcome}")
    _log(row)


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
    """The value without what PostgreSQL cannot store in a text: NUL, and halves of surrogate pairs."""
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {storable(name): storable(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [storable(item) for item in value]
    return value
