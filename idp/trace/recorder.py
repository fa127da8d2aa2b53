"""Recording the steps of the current request.

Nothing here fails a request. What is passed are values that the caller has; what has to be computed, or read, is
computed in a function or a block of :data:`explanation`.
"""

import time
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import timedelta
from uuid import UUID

from idp import clock, ids
from idp.infra.observers import observing
from idp.infra.request_context import client_address, refusal, request_id
from idp.settings import settings
from idp.trace import buffer
from idp.trace.buffer import Field, Recorded, Step

#: Errors that are a part of what a client does when nothing is wrong.
ORDINARY = frozenset({"authorization_pending", "slow_down", "use_dpop_nonce"})
#: The beginning of the routes of programs that manage the server. Their requests are no part of a flow.
MANAGEMENT = ("/admin/api/", "/scim/")
#: Steps of one request. Later ones are left out.
MAX_STEPS = 40


class Recording:
    """The steps of the current request so far.

    Attributes:
        kept: whether it is written even if it succeeds.
    """

    __slots__ = ("client_id", "family_id", "kept", "reason", "session_id", "started", "steps", "trace_id", "user_id")

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.steps: list[Step] = []
        self.kept = False
        self.trace_id = ""
        self.reason: str | None = None
        self.client_id: str | None = None
        self.user_id: UUID | None = None
        self.session_id: UUID | None = None
        self.family_id: UUID | None = None


_recording: ContextVar[Recording | None] = ContextVar("recording", default=None)


def begin() -> None:
    """Begin a request."""
    _recording.set(None)


#: For a function that only computes what is recorded, and for a block. Its errors end there.
explanation = observing("flow_recorder")


def is_on() -> bool:
    """Return whether requests are recorded."""
    return settings().trace_retention > 0


def _current() -> Recording | None:
    if not is_on():
        return None
    found = _recording.get()
    if found is None:
        _recording.set(found := Recording())
    return found


@explanation
def step(kind: str, **fields: Field) -> None:
    """Record a step of a kind of :data:`idp.trace.kinds.KINDS`, which lists its fields. None is a secret."""
    recording = _current()
    if recording is not None:
        recording.kept = True
        _add(recording, kind, fields)


@explanation
def aside(kind: str, **fields: Field) -> None:
    """Record a step that is written only if the request is written for another reason."""
    recording = _current()
    if recording is not None:
        _add(recording, kind, fields)


def _add(recording: Recording, kind: str, fields: Mapping[str, Field]) -> None:
    if len(recording.steps) < MAX_STEPS:
        recording.steps.append((round((time.perf_counter() - recording.started) * 1000), kind, fields))


@explanation
def about(
    *,
    client_id: str | None = None,
    user_id: UUID | None = None,
    session_id: UUID | None = None,
    family_id: UUID | None = None,
) -> None:
    """Name what the request is about. What was named before stays if it is not given."""
    recording = _current()
    if recording is not None:
        recording.client_id = client_id or recording.client_id
        recording.user_id = user_id or recording.user_id
        recording.session_id = session_id or recording.session_id
        recording.family_id = family_id or recording.family_id


@explanation
def refused(reason: str | None, user_id: UUID | None = None) -> None:
    """Name the reason of a refusal that is answered by a page."""
    recording = _current()
    if recording is not None:
        recording.reason = reason or recording.reason
        recording.user_id = user_id or recording.user_id


@explanation
def follow(trace_id: str) -> None:
    """Make the request a part of the flow that began earlier."""
    recording = _current()
    if recording is not None and trace_id:
        recording.trace_id = trace_id


def trace_id() -> str:
    """Return the id of the flow of the current request, to be stored with what continues it. By default it is the id of
    the request.
    """
    recording = _recording.get()
    return (recording.trace_id if recording is not None else "") or request_id.get()


def client_id() -> str | None:
    """Return the registered client that the current request is about, if that is recorded."""
    recording = _recording.get()
    return recording.client_id if recording is not None else None


def reason() -> str | None:
    """Return the reason of a refusal of the current request that is answered by a page, if that is recorded."""
    recording = _recording.get()
    return recording.reason if recording is not None else None


@explanation
def finish(method: str, route: str, status: int, seconds: float) -> None:
    """End a request, and put it into the buffer if it is to be written.

    Written are requests that were refused or failed, and those with a step that is kept.
    """
    recording, refused = _recording.get(), refusal.get()
    if recording is None and status < 500 and route.startswith(MANAGEMENT):
        return
    if refused is not None and refused.error in ORDINARY and (recording is None or not recording.kept):
        return
    if refused is None and status < 500 and (recording is None or not (recording.kept or status >= 400)):
        return
    recording = recording or _current()
    if recording is None:
        return
    reason = (refused.reason if refused else None) or recording.reason
    outcome = "failed" if status >= 500 else "refused" if refused or reason or status >= 400 else "success"
    user_id, family_id = recording.user_id, recording.family_id
    if refused is not None:
        user_id = UUID(refused.user_id) if refused.user_id else user_id
        family_id = UUID(refused.family_id) if refused.family_id else family_id
    buffer.add(
        Recorded(
            id=ids.uuid7(),
            at=clock.now() - timedelta(seconds=seconds),
            request_id=request_id.get(),
            trace_id=recording.trace_id or request_id.get(),
            outcome=outcome,
            method=method,
            route=route,
            status=status,
            duration_ms=round(seconds * 1000),
            error=refused.error if refused else None,
            reason=reason,
            hint=refused.hint if refused else None,
            user_id=user_id,
            client_id=(refused.client_id if refused else None) or recording.client_id,
            session_id=recording.session_id,
            family_id=family_id,
            ip_address=client_address.get(),
            steps=recording.steps,
        )
    )
