"""Recording what matters to security: a row that stays, and a line in the log."""

from typing import Any
from uuid import UUID

import msgspec
import structlog

from idp import ids
from idp.db.engine import execute
from idp.web.context import client_address, request_id

log = structlog.get_logger()

_INSERT = """
INSERT INTO audit_event (id, at, event, outcome, user_id, client_id, session_id, ip_address, request_id, detail)
VALUES ($1, now(), $2, $3, $4, $5, $6, $7, $8, $9)
"""


async def record(
    event: str,
    *,
    outcome: str = "success",
    user_id: UUID | None = None,
    client_id: str | None = None,
    session_id: UUID | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """Record an event in the caller's transaction: with the change that it speaks of, or not at all.

    The line in the log is written at once, whatever becomes of the transaction.

    Args:
        event: what happened, as ``sign_in`` or ``token_family_revoked``.
        outcome: ``success``, ``failure`` or ``denied``.
        detail: what else to know, JSON only. No secrets: it is kept for long and shown to many.
    """
    detail = {} if detail is None else detail
    log.info(
        "audit",
        audit_event=event,
        outcome=outcome,
        user_id=str(user_id) if user_id else None,
        client_id=client_id,
        session_id=str(session_id) if session_id else None,
        reason=detail.get("reason"),
    )
    await execute(
        _INSERT,
        ids.uuid7(),
        event,
        outcome,
        user_id,
        storable(client_id),
        session_id,
        storable(client_address.get()),
        storable(request_id.get()),
        msgspec.json.encode(storable(detail)).decode(),
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
