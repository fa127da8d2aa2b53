"""The statements on sign-in flows."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from idp.federation.models import LogoutToken
from idp.infra.db.engine import execute, fetchrow
from idp.infra.db.expiring import Expiring
from idp.infra.db.rows import one
from idp.signin.browser import BrowserBinding
from idp.signin.tables import Flow

EXPIRING = (Expiring(Flow, "1 hour"),)


class NewFlow(msgspec.Struct, frozen=True):
    """A flow to store. ``lifetime`` is in seconds; ``display`` and ``registration`` are JSON."""

    binding: BrowserBinding
    return_to: str
    cancel_to: str | None
    login_hint: str
    display: str | None
    acr: str
    required: str
    max_age: int | None
    user_id: UUID | None
    session_id: UUID | None
    done: list[str]
    registration: str | None
    attributes: list[str] | None
    ways: list[str] | None
    occasion: str | None
    lifetime: float
    trace_id: str


class FlowRow(msgspec.Struct, frozen=True):
    """A flow. ``display``, ``registration`` and ``identity`` are JSON."""

    return_to: str
    cancel_to: str | None
    login_hint: str
    display: str | None
    acr: str
    required_acr: str
    max_age: int | None
    user_id: UUID | None
    session_id: UUID | None
    done: list[str]
    turn: int
    registration: str | None
    identity: str | None
    attributes: list[str] | None
    ways: list[str] | None
    occasion: str | None
    trace_id: str
    created_at: datetime
    finished: bool
    live: bool


class FlowVersion(msgspec.Struct, frozen=True):
    """A flow as read by a request: its turn is part of the condition of every change.

    ``moves_to`` is the new binding if the change moves the flow to a new key.
    """

    binding: BrowserBinding
    turn: int
    moves_to: BrowserBinding


class NotedStep(msgspec.Struct, frozen=True):
    """The part of a flow that is needed after a step was added. ``identity`` and ``upstream`` are JSON."""

    identity: str | None
    upstream: str | None


_INSERT_FLOW = """
    INSERT INTO signin_flow (id, browser_hash, return_to, cancel_to, login_hint, display, acr, required_acr,
                             max_age, user_id, session_id, done, registration, attributes, ways, occasion, turn,
                             created_at, expires_at, trace_id)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, 0, now(),
            now() + make_interval(secs => $17), $18)
"""
_FIND_FLOW = """
    SELECT return_to, cancel_to, login_hint, display, acr, required_acr, max_age, user_id, session_id, done, turn,
           registration, identity, attributes, ways, occasion, trace_id, created_at,
           finished_at IS NOT NULL AS finished, expires_at > now() AS live
    FROM signin_flow WHERE id = $1 AND browser_hash = $2
"""
_TRACE_OF_LIVE_FLOW = "SELECT trace_id FROM signin_flow WHERE id = $1 AND finished_at IS NULL AND expires_at > now()"
#: The flow of a :class:`FlowVersion`, if it has not changed or ended since.
_THIS_VERSION = "id = $1 AND browser_hash = $2 AND turn = $3 AND finished_at IS NULL AND expires_at > now()"
_STORE_REGISTRATION, _STORE_IDENTITY = (
    f"UPDATE signin_flow SET {column} = $6, turn = turn + 1, id = $4, browser_hash = $5 WHERE {_THIS_VERSION}"  # noqa: S608
    for column in ("registration", "identity")
)
_NOTE_STEP = f"""
    UPDATE signin_flow SET user_id = $6, done = done || $7::text, turn = turn + 1, registration = NULL,
                           id = $4, browser_hash = $5, finished_at = CASE WHEN $8 THEN now() END,
                           upstream = coalesce($9::jsonb, upstream)
    WHERE {_THIS_VERSION} AND (user_id IS NULL OR user_id = $6)
    RETURNING identity, upstream
"""  # noqa: S608
# At its former address, a moved flow is finished and redirects to the new one.
_FORWARD_FLOW = """
    INSERT INTO signin_flow (id, browser_hash, return_to, login_hint, acr, required_acr, done, user_id, kept_form,
                             trace_id, created_at, expires_at, finished_at)
    SELECT $1, $2, $4, '', acr, required_acr, ARRAY[]::text[], CASE WHEN kept_form IS NOT NULL THEN user_id END,
           kept_form, trace_id, created_at, expires_at, now()
    FROM signin_flow WHERE id = $3
"""
_FINISH_FLOW = """
    UPDATE signin_flow SET finished_at = now()
    WHERE id = $1 AND browser_hash = $2 AND finished_at IS NULL AND expires_at > now()
"""
_STORE_LOGIN_HINT = """
    UPDATE signin_flow SET login_hint = $3
    WHERE id = $1 AND browser_hash = $2 AND finished_at IS NULL AND expires_at > now()
"""
_CANCEL_FLOWS = """
    UPDATE signin_flow SET finished_at = now() WHERE user_id = $1 AND finished_at IS NULL AND expires_at > now()
"""
# $1 upstream_id  $2 the flows that have sent a browser there
_FINISH_FLOWS_OF_UPSTREAM = """
    UPDATE signin_flow SET finished_at = now()
    WHERE finished_at IS NULL AND (id = ANY ($2::text[]) OR identity ->> 'upstream_id' = $1
       OR (user_id IN (SELECT user_id FROM identity WHERE upstream_id = $1)
           AND EXISTS (SELECT FROM unnest(done) AS step WHERE step LIKE 'upstream%')))
"""
# $1 issuer  $2 subject or null  $3 sid or null
_FINISH_FLOWS_OF_UPSTREAM_SESSION = """
    UPDATE signin_flow SET finished_at = now()
    WHERE finished_at IS NULL AND expires_at > now() AND EXISTS (
        SELECT FROM (VALUES (upstream), (identity)) AS proved (value)
        WHERE value ->> 'issuer' = $1 AND ($2::text IS NULL OR value ->> 'subject' = $2)
          AND ($3::text IS NULL OR value ->> 'sid' = $3)
    )
"""
_FINISH_ALL_FLOWS = "UPDATE signin_flow SET finished_at = now() WHERE finished_at IS NULL"
_STORE_FORM = "UPDATE signin_flow SET kept_form = $3 WHERE id = $1 AND browser_hash = $2"
_STORED_FORM = """
    SELECT kept_form FROM signin_flow WHERE id = $1 AND user_id = $2 AND finished_at IS NOT NULL AND expires_at > now()
"""


async def insert_flow(new: NewFlow) -> None:
    await execute(
        _INSERT_FLOW, new.binding.id, new.binding.hash, new.return_to, new.cancel_to, new.login_hint, new.display,
        new.acr, new.required, new.max_age, new.user_id, new.session_id, new.done, new.registration, new.attributes,
        new.ways, new.occasion, new.lifetime, new.trace_id,
    )  # fmt: skip


async def find_flow(binding: BrowserBinding) -> FlowRow | None:
    """Return the flow of a binding, finished and expired ones too."""
    return one(FlowRow, await fetchrow(_FIND_FLOW, binding.id, binding.hash))


async def trace_of_live_flow(id: str) -> str | None:
    """Return the ``trace_id`` of the unfinished flow with this id, of any browser; None if there is none."""
    row = await fetchrow(_TRACE_OF_LIVE_FLOW, id)
    return row["trace_id"] if row is not None else None


async def store_registration(flow: FlowVersion, registration: str | None) -> bool:
    """Store the data of a registration, as JSON. Returns False if the flow changed or ended."""
    return await _store_in_flow(_STORE_REGISTRATION, flow, registration)


async def store_identity(flow: FlowVersion, identity: str) -> bool:
    """Store an identity at an upstream provider, as JSON. Returns False if the flow changed or ended."""
    return await _store_in_flow(_STORE_IDENTITY, flow, identity)


async def _store_in_flow(statement: str, flow: FlowVersion, value: str | None) -> bool:
    return bool(await execute(statement, *_version(flow), value))


async def note_step(
    flow: FlowVersion, user_id: UUID, step: str, *, finish: bool, upstream: str | None
) -> NotedStep | None:
    """Add a completed step of a user to a flow, and finish the flow if requested. None if it changed or ended.

    Args:
        upstream: the session at an upstream provider that the step was proved with, as JSON. None keeps the stored one.
    """
    return one(NotedStep, await fetchrow(_NOTE_STEP, *_version(flow), user_id, step, finish, upstream))


def _version(flow: FlowVersion) -> tuple[object, ...]:
    return flow.binding.id, flow.binding.hash, flow.turn, flow.moves_to.id, flow.moves_to.hash


async def forward_flow(old: BrowserBinding, new: BrowserBinding, path: str) -> None:
    """Leave a finished flow under the former binding of a moved flow, which redirects to ``path``."""
    await execute(_FORWARD_FLOW, old.id, old.hash, new.id, path)


async def finish_flow(binding: BrowserBinding) -> bool:
    """Finish a flow. Returns whether it was live."""
    return bool(await execute(_FINISH_FLOW, binding.id, binding.hash))


async def store_login_hint(binding: BrowserBinding, login_hint: str) -> None:
    """Replace the address that a live flow begins with."""
    await execute(_STORE_LOGIN_HINT, binding.id, binding.hash, login_hint)


async def cancel_flows(user_id: UUID) -> None:
    """Finish every unfinished flow of a user."""
    await execute(_CANCEL_FLOWS, user_id)


async def finish_flows_of_upstream(upstream_id: str, flow_ids: Sequence[str]) -> int:
    """Finish every sign-in that may have come from an upstream. Returns their number.

    Args:
        flow_ids: flows that have sent a browser there: one may be about to use the response.
    """
    return await execute(_FINISH_FLOWS_OF_UPSTREAM, upstream_id, flow_ids)


async def finish_flows_of_upstream_session(token: LogoutToken) -> int:
    """Finish the sign-ins that came from the session, or the user, that a logout token names. Returns their number."""
    return await execute(_FINISH_FLOWS_OF_UPSTREAM_SESSION, token.issuer, token.subject, token.sid)


async def finish_all_flows() -> int:
    """Finish every sign-in. Returns their number."""
    return await execute(_FINISH_ALL_FLOWS)


async def store_form(binding: BrowserBinding, sealed: bytes) -> None:
    """Store an encrypted form with a flow."""
    await execute(_STORE_FORM, binding.id, binding.hash, sealed)


async def stored_form(id: str, user_id: UUID) -> bytes | None:
    """Return the encrypted form of a flow that this user finished."""
    row = await fetchrow(_STORED_FORM, id, user_id)
    return bytes(row["kept_form"]) if row is not None and row["kept_form"] is not None else None
