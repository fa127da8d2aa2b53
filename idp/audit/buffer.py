"""Events that belong to no transaction: kept in memory, and written together within a second.

A process that is killed loses those that it has not written yet. What must not be lost is recorded with the change
that it speaks of (:func:`idp.audit.events.record`).
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
import structlog

from idp import clock, ids
from idp.audit import activity, seal
from idp.audit.seal import Row
from idp.db.engine import execute
from idp.settings import settings
from idp.web.context import client_address, request_id

log = structlog.get_logger()

#: Most events that wait in memory, as when the database is away. More are left out, and their number is logged.
MAX_WAITING = 50_000
#: Events of one statement, and tokens of one event.
BATCH, TOKENS_AN_EVENT = 250, 500

# Arrays, one element an event.
_INSERT = """
INSERT INTO audit_event (id, at, event, outcome, actor, user_id, client_id, session_id, ip_address, request_id, detail,
                         hash)
SELECT id, at, event, outcome, actor, user_id, client_id, session_id, ip_address, request_id, detail::jsonb, hash
FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::text[], $8::uuid[],
            $9::text[], $10::text[], $11::text[], $12::bytea[])
     AS new (id, at, event, outcome, actor, user_id, client_id, session_id, ip_address, request_id, detail, hash)
ON CONFLICT (id) DO NOTHING
"""


#: What tokens have in common that are told in one event: grant_type, client_id, user_id, session_id, family_id.
_Grant = tuple[str, str, UUID | None, UUID | None, UUID | None]
#: What each has of its own: the time, jti, address and request. Plain tuples, for this is on the way of every token.
_Token = tuple[datetime, str, str, str]

_rows: list[Row] = []
_tokens: dict[_Grant, list[_Token]] = {}
_waiting = _left_out = 0


def add(row: Row) -> None:
    """Write a row soon."""
    if _fits():
        _rows.append(row)


def token_issued(
    grant_type: str,
    client_id: str,
    jti: str,
    *,
    user_id: UUID | None = None,
    session_id: UUID | None = None,
    family_id: UUID | None = None,
) -> None:
    """Tell soon that an access token was issued. Those of a second by one grant are one event."""
    if not _fits():
        return
    grant = (grant_type, client_id, user_id, session_id, family_id)
    token = (clock.now(), jti, client_address.get(), request_id.get())
    known = _tokens.get(grant)
    if known is None:
        _tokens[grant] = [token]
    else:
        known.append(token)


def _fits() -> bool:
    global _waiting, _left_out  # noqa: PLW0603
    if _waiting >= MAX_WAITING:
        _left_out += 1
        return False
    _waiting += 1
    return True


async def write() -> None:
    """Write what waits. What cannot be written is kept for the next time."""
    global _waiting, _left_out  # noqa: PLW0603
    if _left_out:
        log.error("audit_events_left_out", count=_left_out)
        _left_out = 0
    # From tokens to rows a batch at a time, so that requests are answered in between.
    while _rows or _tokens:
        while _tokens and len(_rows) < BATCH:
            grant, tokens = _tokens.popitem()
            events = _events(grant, tokens)
            _rows.extend(events)
            _waiting += len(events) - len(tokens)
        if batch := _rows[:BATCH]:
            await execute(_INSERT, *_columns(batch))
            # Others have added more meanwhile, behind these.
            del _rows[: len(batch)]
            _waiting -= len(batch)


def _events(grant: _Grant, tokens: Sequence[_Token]) -> list[Row]:
    activity.count(f"token:{grant[0]}", len(tokens), tokens[0][0])
    if not settings().audit_tokens:
        return []
    return [
        _token_event(grant, tokens[start : start + TOKENS_AN_EVENT]) for start in range(0, len(tokens), TOKENS_AN_EVENT)
    ]


def _token_event(grant: _Grant, tokens: Sequence[_Token]) -> Row:
    grant_type, client_id, user_id, session_id, family_id = grant
    at, _, address, request = tokens[0]
    detail: dict[str, object] = {"grant_type": grant_type, "jti": [jti for _, jti, _, _ in tokens]}
    if family_id is not None:
        detail["family_id"] = family_id
    if len(tokens) > 1:
        detail["request_id"], request = [request for *_, request in tokens], ""
        if any(other != address for _, _, other, _ in tokens):
            detail["ip_address"], address = [address for _, _, address, _ in tokens], ""
    return Row(
        ids.uuid7(), at, "token_issued", "success", "", user_id, client_id, session_id, address, request,
        msgspec.json.encode(detail).decode(),
    )  # fmt: skip


def _columns(rows: Sequence[Row]) -> list[list[object]]:
    sealed = [(*row, seal.content_hash(row) if seal.unlocked() else None) for row in rows]
    return [list(column) for column in zip(*sealed, strict=True)]
