"""What a step leads to: the flow goes on, or ends with a session. Each is one statement.

It changes all or nothing: nothing, if the person or this browser is no longer as it was when that was decided, or if
the flow went on or ended meanwhile. Whoever changes what a step was proved by waits until it is noted, and then ends
what it led to.
"""

from itertools import zip_longest
from typing import Any, NamedTuple

import asyncpg
import msgspec
from litestar import Request
from litestar.datastructures import Cookie

from idp import ids
from idp.audit import events
from idp.infra.db.named_queries import NamedQuery
from idp.settings import settings
from idp.signin import devices, limits, sessions
from idp.signin import flow as flows
from idp.signin.flow import Flow, found
from idp.signin.sessions import SignedIn
from idp.signin.subject import SEEN, SignInSubject
from idp.signin.transitions import FIRST, SECOND, CompletedStep, Step, amr, proves, reached

AnyRequest = Request[Any, Any, Any]

_PERSON = f"""
    SELECT FROM users AS u WHERE u.id = :user_id AND u.disabled_at IS NULL
    AND u.password_hash IS NOT DISTINCT FROM :password_hash AND {SEEN} = :seen FOR SHARE
"""  # noqa: S608
_NOTE = """
    UPDATE signin_flow SET user_id = :user_id, done = done || :step::text, turn = turn + 1, registration = NULL,
                           {then}
    FROM person WHERE id = :flow_id AND browser_hash = :browser_hash AND turn = :turn
    AND finished_at IS NULL AND expires_at > now() AND (user_id IS NULL OR user_id = :user_id)
    RETURNING identity, acr, required_acr, user_id AS whose, kept_form, created_at, expires_at
"""
_GO_ON = NamedQuery(f"""
    WITH person AS ({_PERSON}), flow AS ({_NOTE.format(then=flows.MOVE)}), here AS ({flows.LEAVE})
    SELECT identity FROM flow
""")  # noqa: S608
# A browser has one session: that of another person ends. In single-session mode the person's others end too.
_END = NamedQuery(f"""
    WITH person AS ({_PERSON}), flow AS ({_NOTE.format(then="finished_at = now()")}),
    other AS (
        UPDATE session SET ended_at = now() FROM flow
        WHERE (token_hash = :previous_hash OR user_id = :single_user) AND id <> :session_id AND ended_at IS NULL
    ),
    begun AS ({sessions.INSERT} FROM flow {sessions.OR_RENEW} RETURNING auth_time),
    moved AS ({devices.MOVE}), remembered AS ({devices.REMEMBER}),
    forgotten AS (DELETE FROM throttle USING flow WHERE key IN (:count_a, :count_b, :count_c, :count_d)),
    event AS ({events.INSERT} FROM flow)
    SELECT begun.auth_time, flow.identity FROM begun, flow
""")  # noqa: S608


class Ended(NamedTuple):
    """The session that a flow ended with, and the cookies to set. ``flow`` is what it was in the end."""

    flow: Flow
    session: SignedIn
    cookies: tuple[Cookie, ...]


async def go_on(flow: Flow, person: SignInSubject, done: CompletedStep) -> Flow | None:
    """Note a step in a flow that goes on, at its new key if it has one. None where nothing was changed."""
    binding, values = flows.moving(flow)
    row = await _GO_ON.fetchrow(**_noted(flow, person, done) | values, device_hash=person.tokens.device_hash)
    return msgspec.structs.replace(_after(flow, person, done, row), binding=binding) if row is not None else None


async def end(
    request: AnyRequest, flow: Flow, person: SignInSubject, done: CompletedStep, *, browser: bool, trust: bool
) -> Ended | None:
    """End a flow with a session of the person. None where it did not; the caller rolls back what may be half done.

    Args:
        browser: whether the cookies will be set. Else it is a session of its own, which ends no other.
        trust: ask for no second factor at this browser for a while.
    """
    # What was put off in this flow is asked for in the next one.
    steps = tuple(taken for taken in (*flow.done, done) if taken.step is not Step.ENROL)
    session_id = person.session_id or ids.uuid7()
    session = sessions.begun(request, person.user_id, steps, session_id=session_id)
    device = devices.remembered(request if browser else None, trust=trust, second_step=proves(steps, SECOND))
    methods, acr = amr(steps), str(reached(steps))
    event = events.make("sign_in", user_id=person.user_id, session_id=session_id, detail={"amr": methods})
    row = await _END.fetchrow(
        **_noted(flow, person, done)
        | session.values
        | device.values
        | events.values(event)
        | _counts(flow, person, steps),
        device_hash=person.tokens.device_hash,
        previous_hash=person.tokens.session_hash,
        single_user=person.user_id if settings().single_session else None,
    )
    if row is None:
        return None
    events.tell(event)
    signed_in = SignedIn(session_id, person.user_id, row["auth_time"], steps, tuple(methods), acr)
    set_too = (session.cookie, device.cookie) if device.cookie is not None else ()
    return Ended(_after(flow, person, done, row), signed_in, set_too)


def _noted(flow: Flow, person: SignInSubject, done: CompletedStep) -> dict[str, object]:
    return {
        "user_id": person.user_id,
        "password_hash": person.password_hash,
        "seen": person.seen,
        "flow_id": flow.binding.id,
        "browser_hash": flow.binding.hash,
        "turn": flow.turn,
        "step": str(done),
    }


def _counts(flow: Flow, person: SignInSubject, steps: tuple[CompletedStep, ...]) -> dict[str, object]:
    """The counts of vain tries that start again: each only after a proof of what it protects, given in this flow."""
    first = proves(steps, (Step.PASSKEY,) if flow.session_id is not None else FIRST)
    keys = limits.keys_of(person, first=first, second=proves(steps, SECOND))
    return {f"count_{letter}": key for letter, key in zip_longest("abcd", keys)}


def _after(flow: Flow, person: SignInSubject, done: CompletedStep, row: asyncpg.Record) -> Flow:
    return msgspec.structs.replace(
        flow,
        user_id=person.user_id,
        done=(*flow.done, done),
        turn=flow.turn + 1,
        registration=None,
        identity=found(row["identity"]),
    )
