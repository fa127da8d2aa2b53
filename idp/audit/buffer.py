"""A buffer in memory of events that belong to no transaction. They are written in batches within a second.

A process that is killed loses the buffer. An event that must not be lost is recorded in the transaction of its change
(:func:`idp.audit.events.record`).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import structlog

from idp import clock, ids
from idp.audit import activity, row_hmac
from idp.audit.repository import audit_events
from idp.audit.row_hmac import Row
from idp.infra.metrics.declared import Counter
from idp.infra.observers import observing, written
from idp.infra.request_context import client_address, request_id
from idp.settings import settings

log = structlog.get_logger()

LOST = Counter("idp_audit_events_lost", "Events that did not fit into the buffer.")

#: Maximum of events in the buffer, which fills up while the database is down. More are dropped and counted in the log.
MAX_WAITING = 50_000
#: Events per INSERT statement, and tokens per event.
BATCH, TOKENS_AN_EVENT = 250, 200
#: Tokens converted to events at a time. If they are of more than so many clients, clients share events, to save rows.
TOKENS, CLIENTS = 1_000, 10


class _Token(NamedTuple):
    """An access token that was issued."""

    at: datetime
    client_id: str
    jti: str
    user_id: UUID | None
    session_id: UUID | None
    family_id: UUID | None
    ip_address: str
    request_id: str


#: Rows with their hashes.
_rows: list[tuple[Row, bytes]] = []
#: By grant_type.
_tokens: dict[str, list[_Token]] = {}
_waiting = _left_out = 0


def add(row: Row) -> None:
    """Add a row to the buffer."""
    if _fits():
        _rows.append((row, row_hmac.content_hash(row)))


@observing("audit_buffer")
def token_issued(
    grant_type: str,
    client_id: str,
    jti: str,
    *,
    user_id: UUID | None = None,
    session_id: UUID | None = None,
    family_id: UUID | None = None,
) -> None:
    """Add an issued access token to the buffer. Tokens of one grant and client within a second are one event."""
    if _fits():
        now, address, request = clock.now(), client_address.get(), request_id.get()
        token = _Token(now, client_id, jti, user_id, session_id, family_id, address, request)
        _tokens.setdefault(grant_type, []).append(token)


def _fits() -> bool:
    global _waiting, _left_out  # noqa: PLW0603
    if _waiting >= MAX_WAITING:
        _left_out += 1
        LOST.add()
        return False
    _waiting += 1
    return True


def waiting() -> int:
    """Return the number of events and tokens that are not written yet."""
    return _waiting


async def write() -> None:
    """Write the buffer. Events that cannot be written are kept for the next write."""
    global _waiting, _left_out  # noqa: PLW0603
    # Tokens become rows one batch at a time, so that requests are answered in between.
    while _rows or _tokens:
        if len(_rows) < BATCH:
            _drain_tokens()
        if batch := _rows[:BATCH]:
            await written(audit_events.insert_events, batch, "audit_buffer")
            # Newer rows were appended in the meantime.
            del _rows[: len(batch)]
            _waiting -= len(batch)
    if _left_out:
        log.error("audit_events_left_out", count=_left_out)
        _left_out = 0


def _drain_tokens() -> None:
    """Convert tokens to rows."""
    global _waiting  # noqa: PLW0603
    for grant_type in list(_tokens):
        tokens = _tokens.pop(grant_type)
        if tokens[TOKENS:]:
            _tokens[grant_type] = tokens[TOKENS:]
        taken = tokens[:TOKENS]
        activity.count(f"token:{grant_type}", len(taken), taken[0].at)
        events = [_tokens_issued(grant_type, group) for group in _grouped(taken)] if settings().audit_tokens else []
        _rows.extend(events)
        _waiting += len(events) - len(taken)


def _grouped(tokens: list[_Token]) -> list[list[_Token]]:
    """Tokens that share an event: those of one client, or all if there are many clients."""
    by_client: dict[str, list[_Token]] = {}
    for token in tokens:
        by_client.setdefault(token.client_id, []).append(token)
    groups = list(by_client.values()) if len(by_client) <= CLIENTS else [tokens]
    return [group[i : i + TOKENS_AN_EVENT] for group in groups for i in range(0, len(group), TOKENS_AN_EVENT)]


def _tokens_issued(grant_type: str, tokens: Sequence[_Token]) -> tuple[Row, bytes]:
    """One event for several tokens. A column has a value if it is the same for all of them."""
    first = tokens[0]

    def common(name: str, otherwise: str | None = None) -> Any:
        value = getattr(first, name)
        return value if all(getattr(token, name) == value for token in tokens) else otherwise

    detail = {"grant_type": grant_type, "issued": [token._asdict() for token in tokens]}
    row = Row(
        ids.uuid7(), first.at, "token_issued", "success", "", common("user_id"), common("client_id"),
        common("session_id"), common("ip_address", ""), common("request_id", ""), msgspec.json.encode(detail).decode(),
    )  # fmt: skip
    return row, row_hmac.content_hash(row, detail)
