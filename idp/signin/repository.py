"""Every statement on sessions, sign-in flows and devices.

Factors have a separate repository (:mod:`idp.signin.factors.repository`). Each change is one conditional statement,
whose function returns what was changed: nothing if the condition is false.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from idp.accounts.repository.users import id_of_email
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.expiring import Expiring
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import many, one
from idp.signin.browser import Browser, BrowserBinding
from idp.signin.factors.repository import FACTOR_COLUMNS
from idp.signin.session_tokens import SessionToken
from idp.signin.subject import SignInSubject
from idp.signin.tables import Device, Flow, Session

EXPIRING = (
    Expiring(Flow, "1 hour"),
    Expiring(Session, "1 day", key=("user_id", "id")),
    Expiring(Device, "1 day", key=("user_id", "id")),
)

# The user who signs in


_SUBJECT = f"""
    SELECT u.id, u.email, u.name, u.password_hash, u.disabled_at IS NOT NULL AS disabled, {FACTOR_COLUMNS},
           d.id AS device_id, coalesce(d.trusted_until > now(), false) AS trusts_device, s.id AS session_id
    FROM users AS u
    LEFT JOIN device AS d ON d.user_id = $1 AND d.token_hash = $2 AND d.expires_at > now()
    LEFT JOIN session AS s ON s.user_id = $1 AND s.token_hash = $3 AND s.ended_at IS NULL AND s.expires_at > now()
    WHERE u.id = $1
"""  # noqa: S608


async def subject_by_id(user_id: UUID, browser: Browser) -> SignInSubject | None:
    """Return a user at a browser. Lock the user first if the transaction acts on the result."""
    session_hash = browser.session.hash if browser.session else None
    return one(SignInSubject, await fetchrow(_SUBJECT, user_id, browser.device_hash, session_hash))


async def subject_by_email(email: str | None, browser: Browser) -> SignInSubject | None:
    """Return the user of a normalised email address, at a browser.

    None and an unknown address run the same statements as a known one, which takes the same time.
    """
    person = await subject_by_id(await id_of_email(email), browser)
    # The address may have changed between the two statements.
    return person if person is not None and person.email == email else None


# Sessions


class SessionKey(msgspec.Struct, frozen=True):
    """The key of a session."""

    user_id: UUID
    id: UUID


def columns(sessions: Sequence[SessionKey]) -> tuple[list[UUID], list[UUID]]:
    """Return the users and the ids of sessions, as the parameters of one statement on all of them."""
    return [session.user_id for session in sessions], [session.id for session in sessions]


class SessionRow(msgspec.Struct, frozen=True):
    """A live session. ``stale``: ``last_seen_at`` is to be written again."""

    id: UUID
    user_id: UUID
    auth_time: datetime
    steps: list[str]
    amr: list[str]
    acr: str
    stale: bool


class ActiveSession(msgspec.Struct, frozen=True):
    """A live session, as its user sees it."""

    id: UUID
    user_agent: str
    ip_address: str
    auth_time: datetime
    last_seen_at: datetime


class ExportedSession(msgspec.Struct, frozen=True):
    """A session in the export of a user's data."""

    sid: UUID
    auth_time: datetime
    amr: list[str]
    acr: str
    user_agent: str
    ip_address: str
    created_at: datetime
    last_seen_at: datetime
    ended_at: datetime | None


class LockedSession(msgspec.Struct, frozen=True):
    """The sign-in of a session that is locked. ``age`` is in seconds."""

    age: float
    auth_time: datetime
    steps: list[str]


class NewSession(msgspec.Struct, frozen=True):
    """A session to store. ``auth_time`` None is now; ``lifetime`` is in seconds."""

    id: UUID
    token_hash: bytes
    user_id: UUID
    steps: list[str]
    amr: list[str]
    acr: str
    user_agent: str
    ip_address: str
    lifetime: float
    auth_time: datetime | None = None


_LIVE_SESSION = """
    s.user_id = $1 AND s.token_hash = $2 AND s.ended_at IS NULL AND s.expires_at > now()
    AND s.last_seen_at > now() - make_interval(secs => $3)
    AND u.id = $1 AND u.disabled_at IS NULL
"""
_FIND_SESSION = f"""
    SELECT s.id, s.user_id, s.auth_time, s.steps, s.amr, s.acr, s.last_seen_at < now() - $4::interval AS stale
    FROM session AS s, users AS u WHERE {_LIVE_SESSION}
"""  # noqa: S608
_TOUCH_SESSION = f"UPDATE session AS s SET last_seen_at = now() FROM users AS u WHERE {_LIVE_SESSION}"  # noqa: S608
# The user first, as in every transaction that locks both. Not FOR SHARE: two requests of one user that change the user
# would deadlock.
_LOCK_SESSION = """
    SELECT extract(epoch FROM now() - s.auth_time)::float8 AS age, s.auth_time, s.steps FROM users AS u, session AS s
    WHERE u.id = $1 AND u.disabled_at IS NULL
      AND s.user_id = $1 AND s.id = $2 AND s.ended_at IS NULL AND s.expires_at > now()
    FOR NO KEY UPDATE OF u FOR SHARE OF s
"""
_ACTIVE_SESSIONS = """
    SELECT id, user_agent, ip_address, auth_time, last_seen_at FROM session
    WHERE user_id = $1 AND ended_at IS NULL AND expires_at > now()
      AND last_seen_at > now() - make_interval(secs => $2)
    ORDER BY last_seen_at DESC LIMIT 100
"""
_ALL_SESSIONS = """
    SELECT id AS sid, auth_time, amr, acr, user_agent, ip_address, created_at, last_seen_at, ended_at
    FROM session WHERE user_id = $1 ORDER BY created_at
"""
_INSERT_SESSION = """
    INSERT INTO session (id, token_hash, user_id, auth_time, steps, amr, acr, user_agent, ip_address,
                         created_at, last_seen_at, expires_at)
    VALUES ($1, $2, $3, coalesce($4, now()), $5, $6, $7, $8, $9, now(), now(), now() + make_interval(secs => $10))
    RETURNING auth_time
"""
_RENEW_SESSION = """
    UPDATE session SET token_hash = $3, auth_time = now(), last_seen_at = now(), steps = $4, amr = $5, acr = $6
    WHERE user_id = $1 AND id = $2 AND ended_at IS NULL AND expires_at > now()
    RETURNING auth_time
"""
_END_SESSION = "UPDATE session SET ended_at = now() WHERE user_id = $1 AND id = $2 AND ended_at IS NULL"
_SESSION_IDS_OF_USER = "SELECT id FROM session WHERE user_id = $1 AND ended_at IS NULL"
_END_SESSIONS_OF_USER = "UPDATE session SET ended_at = now() WHERE user_id = $1 AND ended_at IS NULL"
_END_OTHER_SESSIONS = f"{_END_SESSIONS_OF_USER} AND id <> $2"
_END_OTHER_SESSION_OF_TOKEN = f"{_END_OTHER_SESSIONS} AND token_hash = $3"
# $1 user_ids  $2 ids
_END_SESSIONS = """
    UPDATE session AS s SET ended_at = now() FROM unnest($1::uuid[], $2::uuid[]) AS a (user_id, id)
    WHERE s.user_id = a.user_id AND s.id = a.id AND s.ended_at IS NULL
"""
_END_ALL_SESSIONS = "UPDATE session SET ended_at = now() WHERE ended_at IS NULL"
# The live sessions of users with an identity at the upstream who signed in with an upstream.
_SESSIONS_OF_UPSTREAM = """
    SELECT s.user_id, s.id FROM session AS s WHERE s.ended_at IS NULL AND s.expires_at > now()
    AND EXISTS (SELECT FROM unnest(s.steps) AS step WHERE step LIKE 'upstream%')
    AND EXISTS (SELECT FROM identity AS i WHERE i.user_id = s.user_id AND i.upstream_id = $1)
"""
_STORE_CHALLENGE = "UPDATE session SET challenge = $3 WHERE user_id = $1 AND id = $2"
_CONSUME_CHALLENGE = """
    UPDATE session AS s SET challenge = NULL FROM session AS old
    WHERE s.user_id = $1 AND s.id = $2 AND old.user_id = $1 AND old.id = $2
      AND s.challenge IS NOT NULL AND s.ended_at IS NULL AND s.expires_at > now()
    RETURNING old.challenge
"""


async def active_sessions(user_id: UUID, idle_lifetime: float) -> list[ActiveSession]:
    """Return the live sessions of a user, the most recently used first, at most 100."""
    return many(ActiveSession, await fetch(_ACTIVE_SESSIONS, user_id, idle_lifetime))


async def all_sessions(user_id: UUID) -> list[ExportedSession]:
    """Return every stored session of a user, oldest first."""
    return many(ExportedSession, await fetch(_ALL_SESSIONS, user_id))


async def find_session(token: SessionToken, idle_lifetime: float, precision: timedelta) -> SessionRow | None:
    """Return the live session of a token.

    Args:
        idle_lifetime: seconds without use after which it ends.
        precision: age at which ``last_seen_at`` is stale.
    """
    return one(SessionRow, await fetchrow(_FIND_SESSION, *token, idle_lifetime, precision))


async def touch_session(token: SessionToken, idle_lifetime: float) -> None:
    """Note that a live session was used."""
    await execute(_TOUCH_SESSION, *token, idle_lifetime)


async def lock_session(user_id: UUID, session_id: UUID) -> LockedSession | None:
    """Lock a live session and its user until the end of the transaction. None if it ended or the user is disabled."""
    return one(LockedSession, await fetchrow(_LOCK_SESSION, user_id, session_id))


async def insert_session(new: NewSession) -> datetime:
    """Store a session. Returns its ``auth_time``."""
    row = await fetchrow(
        _INSERT_SESSION, new.id, new.token_hash, new.user_id, new.auth_time, new.steps, new.amr, new.acr,
        new.user_agent, new.ip_address, new.lifetime,
    )  # fmt: skip
    assert row is not None  # noqa: S101 -- INSERT … RETURNING gives its row
    auth_time: datetime = row["auth_time"]
    return auth_time


async def renew_session(new: NewSession) -> datetime | None:
    """Continue a session with a new token and a new sign-in. Returns its ``auth_time``; None if it ended."""
    row = await fetchrow(_RENEW_SESSION, new.user_id, new.id, new.token_hash, new.steps, new.amr, new.acr)
    return row["auth_time"] if row is not None else None


async def end_session(user_id: UUID, session_id: UUID) -> bool:
    """End a session of a user. Returns whether it was live."""
    return bool(await execute(_END_SESSION, user_id, session_id))


async def session_ids_of_user(user_id: UUID) -> list[UUID]:
    """Return the ids of a user's sessions that have not ended."""
    return [row["id"] for row in await fetch(_SESSION_IDS_OF_USER, user_id)]


async def end_sessions_of_user(user_id: UUID) -> int:
    """End all sessions of a user. Returns how many were live."""
    return await execute(_END_SESSIONS_OF_USER, user_id)


async def sessions_of_upstream(upstream_id: str) -> list[SessionKey]:
    """Return the live sessions that may have come from a sign-in with an upstream."""
    return many(SessionKey, await fetch(_SESSIONS_OF_UPSTREAM, upstream_id))


async def end_sessions(sessions: Sequence[SessionKey]) -> int:
    """End sessions. Returns how many had not ended."""
    return await execute(_END_SESSIONS, *columns(sessions))


async def end_all_sessions() -> int:
    """End every session. Returns their number."""
    return await execute(_END_ALL_SESSIONS)


async def end_other_sessions(user_id: UUID, session_id: UUID) -> None:
    """End all sessions of a user except for one."""
    await execute(_END_OTHER_SESSIONS, user_id, session_id)


async def end_other_session_of_token(token: SessionToken, session_id: UUID) -> None:
    """End the session of a token, unless it is this session."""
    await execute(_END_OTHER_SESSION_OF_TOKEN, token.user_id, session_id, token.hash)


async def store_challenge(user_id: UUID, session_id: UUID, challenge: bytes) -> None:
    """Store the challenge that the next new passkey of a session must sign."""
    await execute(_STORE_CHALLENGE, user_id, session_id, challenge)


async def consume_challenge(user_id: UUID, session_id: UUID) -> bytes | None:
    """Consume and return the stored challenge of a live session."""
    row = await fetchrow(_CONSUME_CHALLENGE, user_id, session_id)
    return bytes(row["challenge"]) if row is not None else None


# Flows


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
    lifetime: float


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
    """The part of a flow that is needed after a step was added. ``identity`` is JSON."""

    identity: str | None


_INSERT_FLOW = """
    INSERT INTO signin_flow (id, browser_hash, return_to, cancel_to, login_hint, display, acr, required_acr,
                             max_age, user_id, session_id, done, registration, turn, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0, now(), now() + make_interval(secs => $14))
"""
_FIND_FLOW = """
    SELECT return_to, cancel_to, login_hint, display, acr, required_acr, max_age, user_id, session_id, done, turn,
           registration, identity, created_at, finished_at IS NOT NULL AS finished, expires_at > now() AS live
    FROM signin_flow WHERE id = $1 AND browser_hash = $2
"""
_FLOW_IS_LIVE = "SELECT FROM signin_flow WHERE id = $1 AND finished_at IS NULL AND expires_at > now()"
#: The flow of a :class:`FlowVersion`, if it has not changed or ended since.
_THIS_VERSION = "id = $1 AND browser_hash = $2 AND turn = $3 AND finished_at IS NULL AND expires_at > now()"
_STORE_REGISTRATION, _STORE_IDENTITY = (
    f"UPDATE signin_flow SET {column} = $6, turn = turn + 1, id = $4, browser_hash = $5 WHERE {_THIS_VERSION}"  # noqa: S608
    for column in ("registration", "identity")
)
_NOTE_STEP = f"""
    UPDATE signin_flow SET user_id = $6, done = done || $7::text, turn = turn + 1, registration = NULL,
                           id = $4, browser_hash = $5, finished_at = CASE WHEN $8 THEN now() END
    WHERE {_THIS_VERSION} AND (user_id IS NULL OR user_id = $6)
    RETURNING identity
"""  # noqa: S608
# At its former address, a moved flow is finished and redirects to the new one.
_FORWARD_FLOW = """
    INSERT INTO signin_flow (id, browser_hash, return_to, login_hint, acr, required_acr, done, user_id, kept_form,
                             created_at, expires_at, finished_at)
    SELECT $1, $2, $4, '', acr, required_acr, ARRAY[]::text[], CASE WHEN kept_form IS NOT NULL THEN user_id END,
           kept_form, created_at, expires_at, now()
    FROM signin_flow WHERE id = $3
"""
_FINISH_FLOW = """
    UPDATE signin_flow SET finished_at = now()
    WHERE id = $1 AND browser_hash = $2 AND finished_at IS NULL AND expires_at > now()
"""
_CANCEL_FLOWS = """
    UPDATE signin_flow SET finished_at = now() WHERE user_id = $1 AND finished_at IS NULL AND expires_at > now()
"""
_FINISH_FLOWS_OF_UPSTREAM = """
    UPDATE signin_flow SET finished_at = now()
    WHERE finished_at IS NULL AND (identity ->> 'upstream_id' = $1
       OR (user_id IN (SELECT user_id FROM identity WHERE upstream_id = $1)
           AND EXISTS (SELECT FROM unnest(done) AS step WHERE step LIKE 'upstream%')))
"""
_FINISH_ALL_FLOWS = "UPDATE signin_flow SET finished_at = now() WHERE finished_at IS NULL"
_STORE_FORM = "UPDATE signin_flow SET kept_form = $3 WHERE id = $1 AND browser_hash = $2"
_STORED_FORM = """
    SELECT kept_form FROM signin_flow WHERE id = $1 AND user_id = $2 AND finished_at IS NOT NULL AND expires_at > now()
"""


async def insert_flow(new: NewFlow) -> None:
    await execute(
        _INSERT_FLOW, new.binding.id, new.binding.hash, new.return_to, new.cancel_to, new.login_hint, new.display,
        new.acr, new.required, new.max_age, new.user_id, new.session_id, new.done, new.registration, new.lifetime,
    )  # fmt: skip


async def find_flow(binding: BrowserBinding) -> FlowRow | None:
    """Return the flow of a binding, finished and expired ones too."""
    return one(FlowRow, await fetchrow(_FIND_FLOW, binding.id, binding.hash))


async def flow_is_live(id: str) -> bool:
    """Return whether there is an unfinished flow with this id, of any browser."""
    return await fetchrow(_FLOW_IS_LIVE, id) is not None


async def store_registration(flow: FlowVersion, registration: str | None) -> bool:
    """Store the data of a registration, as JSON. Returns False if the flow changed or ended."""
    return await _store_in_flow(_STORE_REGISTRATION, flow, registration)


async def store_identity(flow: FlowVersion, identity: str) -> bool:
    """Store an identity at an upstream provider, as JSON. Returns False if the flow changed or ended."""
    return await _store_in_flow(_STORE_IDENTITY, flow, identity)


async def _store_in_flow(statement: str, flow: FlowVersion, value: str | None) -> bool:
    return bool(await execute(statement, *_version(flow), value))


async def note_step(flow: FlowVersion, user_id: UUID, step: str, *, finish: bool) -> NotedStep | None:
    """Add a completed step of a user to a flow, and finish the flow if requested. None if it changed or ended."""
    return one(NotedStep, await fetchrow(_NOTE_STEP, *_version(flow), user_id, step, finish))


def _version(flow: FlowVersion) -> tuple[object, ...]:
    return flow.binding.id, flow.binding.hash, flow.turn, flow.moves_to.id, flow.moves_to.hash


async def forward_flow(old: BrowserBinding, new: BrowserBinding, path: str) -> None:
    """Leave a finished flow under the former binding of a moved flow, which redirects to ``path``."""
    await execute(_FORWARD_FLOW, old.id, old.hash, new.id, path)


async def finish_flow(binding: BrowserBinding) -> bool:
    """Finish a flow. Returns whether it was live."""
    return bool(await execute(_FINISH_FLOW, binding.id, binding.hash))


async def cancel_flows(user_id: UUID) -> None:
    """Finish every unfinished flow of a user."""
    await execute(_CANCEL_FLOWS, user_id)


async def finish_flows_of_upstream(upstream_id: str) -> int:
    """Finish every sign-in that may have come from an upstream. Returns their number."""
    return await execute(_FINISH_FLOWS_OF_UPSTREAM, upstream_id)


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


# Devices


class KnownDevice(msgspec.Struct, frozen=True):
    """A browser that a user signed in with before.

    Attributes:
        id: stays when the cookie is replaced.
        email: the user's address.
        second_step: the user has used a second factor there.
    """

    id: UUID
    email: str
    second_step: bool


class DeviceUse(msgspec.Struct, frozen=True):
    """A sign-in at a device. Times are in seconds; ``trusted_for`` None leaves its trust as it is."""

    user_id: UUID
    token_hash: bytes
    trusted_for: float | None
    second_step: bool
    lifetime: float


_USERS_OF_DEVICE = "SELECT user_id FROM device_token WHERE token_hash = $1"
_FIND_DEVICE = """
    SELECT d.id, u.email, d.second_step_at IS NOT NULL AS second_step FROM device AS d, users AS u
    WHERE d.user_id = ANY($1) AND d.token_hash = $2 AND d.expires_at > now()
      AND u.id = ANY($1) AND u.id = d.user_id AND u.disabled_at IS NULL
    ORDER BY d.id LIMIT 1
"""
# The rows of the lookup table get the new token by their foreign key.
_MOVE_DEVICE = """
    UPDATE device SET token_hash = $3,
           trusted_until = CASE WHEN user_id = $4
               THEN coalesce(now() + make_interval(secs => $5), trusted_until) ELSE trusted_until END,
           second_step_at = CASE WHEN user_id = $4 AND $6 THEN now() ELSE second_step_at END,
           expires_at = CASE WHEN user_id = $4 THEN now() + make_interval(secs => $7) ELSE expires_at END
    WHERE user_id = ANY($1) AND token_hash = $2 RETURNING user_id
"""
_INSERT_DEVICE = """
    WITH known AS (INSERT INTO device_token (token_hash, user_id) VALUES ($3, $1))
    INSERT INTO device (user_id, id, token_hash, created_at, trusted_until, second_step_at, expires_at)
    VALUES ($1, $2, $3, now(), now() + make_interval(secs => $4), CASE WHEN $5::boolean THEN now() END,
            now() + make_interval(secs => $6))
"""
_DISTRUST_ALL_DEVICES = "UPDATE device SET trusted_until = NULL WHERE trusted_until IS NOT NULL"
_DISTRUST_DEVICES = """
    UPDATE device SET trusted_until = NULL, second_step_at = NULL
    WHERE user_id = $1 AND (trusted_until IS NOT NULL OR second_step_at IS NOT NULL)
"""


async def users_of_device(token_hash: bytes) -> list[UUID]:
    """Return the users who signed in with the browser that has this token."""
    return [row["user_id"] for row in await fetch(_USERS_OF_DEVICE, token_hash)]


async def find_device(token_hash: bytes, user_ids: Sequence[UUID]) -> KnownDevice | None:
    """Return the device of a token, for the first of these users who signed in there."""
    return one(KnownDevice, await fetchrow(_FIND_DEVICE, user_ids, token_hash))


async def move_device(token_hash: bytes, use: DeviceUse) -> bool:
    """Move all users of a device to its new token. Returns whether the user of this sign-in is among them."""
    rows = await fetch(
        _MOVE_DEVICE, await users_of_device(token_hash), token_hash, use.token_hash, use.user_id, use.trusted_for,
        use.second_step, use.lifetime,
    )  # fmt: skip
    return use.user_id in {row["user_id"] for row in rows}


async def insert_device(id: UUID, use: DeviceUse) -> None:
    """Insert a device with its lookup."""
    await execute(_INSERT_DEVICE, use.user_id, id, use.token_hash, use.trusted_for, use.second_step, use.lifetime)


async def distrust_all_devices() -> int:
    """End the trust in all devices of all users. Returns how many were trusted."""
    return await execute(_DISTRUST_ALL_DEVICES)


async def distrust_devices(user_id: UUID) -> None:
    """End the trust in all devices of a user. The devices stay known."""
    await execute(_DISTRUST_DEVICES, user_id)


# The list for administrators

SESSIONS = Listing(
    source="session AS s JOIN users AS u ON u.id = s.user_id",
    columns="s.id AS sid, s.user_id, u.email, s.auth_time, s.amr, s.acr, s.user_agent, s.ip_address, s.created_at,"
    " s.last_seen_at, s.expires_at, s.ended_at",
    key=Sort("s.id", "uuid"),
    sorts={"sid": Sort("s.id", "uuid")},
    default_sort="-sid",
    filters={
        "sid": Filter("s.id = {}", "uuid", "One session."),
        "user_id": Filter("s.user_id = {}", "uuid", "Of one user."),
        "live": Filter("(s.ended_at IS NULL AND s.expires_at > now()) = {}", "boolean", "Whether it is live."),
    },
)
