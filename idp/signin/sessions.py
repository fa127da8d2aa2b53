"""Browser sessions: the signed-in user, the time of the sign-in, and its proof."""

import math
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple
from uuid import UUID

import msgspec

from idp import clock, ids
from idp.audit.events import record
from idp.errors import SessionEndedError
from idp.infra.db.engine import authority, transaction
from idp.infra.request_context import client_address, head
from idp.settings import settings
from idp.signin import session_tokens, transitions
from idp.signin.browser import Browser
from idp.signin.repository import sessions
from idp.signin.repository.sessions import NewSession, SessionKey
from idp.signin.transitions import MULTI_FACTOR, SINGLE_FACTOR, CompletedStep, amr, reached

#: Age at which ``last_seen_at`` is written again, so that not every request writes.
LAST_SEEN_PRECISION = timedelta(minutes=1)


class SignedIn(msgspec.Struct, frozen=True):
    """A live session. ``id`` is the ``sid`` claim; ``amr`` and ``acr`` are those of OpenID Connect Core section 2.

    ``auth_time`` is the time of the sign-in here. The claim of that name is :attr:`proved_at`. ``pause`` is the longest
    time in seconds for which the session was not used since the user proved their identity.
    """

    id: UUID
    user_id: UUID
    auth_time: datetime
    done: tuple[CompletedStep, ...]
    amr: tuple[str, ...]
    acr: str
    pause: int = 0

    @property
    def auth_age(self) -> int | None:
        """Seconds by which the proof was older than the sign-in: an upstream sign-in, or one that a step-up continues.

        None if unknown.
        """
        return transitions.auth_age(self.done, self.auth_time)

    @property
    def proved_at(self) -> datetime | None:
        """The time of the proof of identity; None if unknown."""
        age = self.auth_age
        return None if age is None else self.auth_time - timedelta(seconds=age)

    def proved_since(self, moment: datetime) -> bool:
        """Return whether the user is known to have proved their identity at or after a time."""
        return self.proved_at is not None and self.proved_at >= moment

    def age(self) -> float:
        """Seconds since the proof of identity; infinite if unknown."""
        proved_at = self.proved_at
        return math.inf if proved_at is None else (clock.now() - proved_at).total_seconds()


async def find(token: str | None) -> SignedIn | None:
    """Return the live session of a token, if any. Finding it resets its idle timeout, except for a page that asks by
    itself whether it is still of use.
    """
    named, idle_lifetime = session_tokens.parse(token), settings().session_idle_lifetime
    row = await sessions.find_session(named, idle_lifetime, LAST_SEEN_PRECISION) if named else None
    if named is None or row is None:
        return None
    if row.stale and not head.get():
        await sessions.touch_session(named, idle_lifetime)
    done = tuple(map(CompletedStep.parse, row.steps))
    return SignedIn(row.id, row.user_id, row.auth_time, done, tuple(row.amr), row.acr, row.pause)


async def why_none(token: str | None) -> str:
    """Return why there is no live session of a token, for the flow recorder."""
    named = session_tokens.parse(token)
    if named is None:
        return "the browser sent no session cookie" if token is None else "the session cookie is malformed"
    ended = await sessions.state_of_session(named)
    if ended is None:
        return "the session of the cookie is unknown, or was deleted after its end"
    if ended.ended_at is not None:
        by = f" by {ended.ended_by}" if ended.ended_by else ""
        return f"the session ended at {ended.ended_at:%Y-%m-%d %H:%M:%S} UTC{by}: {ended.ended_reason or 'no reason'}"
    if ended.expired:
        return f"the session expired at {ended.expires_at:%Y-%m-%d %H:%M:%S} UTC"
    return "the session was not used for too long, or its user is disabled"


async def level_for_credentials(session: SignedIn) -> str:
    """Return the ``acr`` that changes of what gives access to the account need: two factors if the user has a second
    one, except one that is newer than the sign-in.

    Otherwise who knows the password alone could add a factor, or remove one.
    """
    lacking = session.acr == SINGLE_FACTOR and await sessions.lacks_factor(session.user_id, session.id)
    return MULTI_FACTOR if lacking else SINGLE_FACTOR


async def lock(session: SignedIn, *, fresh: bool = False, credentials: bool = False) -> None:
    """Check that a session is live and its user enabled, and keep it so until the end of the transaction.

    Args:
        fresh: also check that the sign-in is recent.
        credentials: also check that it has the level of :func:`level_for_credentials`.

    Raises:
        SessionEndedError: the session ended, or its sign-in is too old or of a lower level.
    """
    locked = await sessions.lock_session(session.user_id, session.id)
    if locked is None:
        raise SessionEndedError
    # From the row, because a step-up may have changed it since the request began.
    older = transitions.auth_age(map(CompletedStep.parse, locked.steps), locked.auth_time)
    if fresh and (older is None or locked.age + older > settings().reauthentication_lifetime):
        raise SessionEndedError
    if credentials and await sessions.lacks_factor(session.user_id, session.id):
        raise SessionEndedError


async def lock_live(user_id: UUID, session_id: UUID) -> bool:
    """Like :func:`lock`. Returns False instead of raising."""
    return await sessions.lock_session(user_id, session_id) is not None


async def steps_of(user_id: UUID, session_id: UUID) -> tuple[CompletedStep, ...] | None:
    """Return the steps of the sign-in of a session; None if it has ended."""
    steps = await sessions.steps_of_session(user_id, session_id)
    return tuple(map(CompletedStep.parse, steps)) if steps is not None else None


def guard_changes(session: SignedIn, *, credentials: bool = False) -> None:
    """Begin every transaction of this request with :func:`lock`, so that it changes nothing once the session ended.

    Args:
        credentials: the request changes what gives access to the account. It needs a recent sign-in of the level.
    """
    authority.set(partial(lock, session, fresh=credentials, credentials=credentials))


class StartedSession(NamedTuple):
    """A session that was stored, and the token for its cookie."""

    session: SignedIn
    token: str


async def start(
    browser: Browser, user_id: UUID, done: tuple[CompletedStep, ...], *, auth_time: datetime | None = None
) -> StartedSession:
    """Start a session of a user. In the caller's transaction.

    Args:
        done: the completed steps. They reach some ``acr``.
        auth_time: when they were completed; by default now.
    """
    token, new = _new(browser, ids.uuid7(), user_id, done, auth_time)
    return StartedSession(_signed_in(new, done, await sessions.insert_session(new)), token)


async def renew(
    browser: Browser, session_id: UUID, user_id: UUID, done: tuple[CompletedStep, ...], *, proved: bool
) -> StartedSession | None:
    """Continue a session of a user after a new sign-in, under a new token, in the caller's transaction.

    None if the session ended.

    Args:
        proved: the user proved their identity now, and not only a second factor.
    """
    token, new = _new(browser, session_id, user_id, done)
    renewed = await sessions.renew_session(new, proved=proved)
    return StartedSession(_signed_in(new, done, *renewed), token) if renewed is not None else None


def _new(
    browser: Browser,
    session_id: UUID,
    user_id: UUID,
    done: tuple[CompletedStep, ...],
    auth_time: datetime | None = None,
) -> tuple[str, NewSession]:
    token = session_tokens.new(user_id)
    new = NewSession(
        id=session_id,
        token_hash=ids.digest(token),
        user_id=user_id,
        steps=[str(step) for step in done],
        amr=amr(done),
        acr=str(reached(done)),
        user_agent=browser.user_agent,
        ip_address=client_address.get(),
        lifetime=settings().session_lifetime,
        auth_time=auth_time,
    )
    return token, new


def _signed_in(new: NewSession, done: tuple[CompletedStep, ...], auth_time: datetime, pause: int = 0) -> SignedIn:
    return SignedIn(new.id, new.user_id, auth_time, done, tuple(new.amr), new.acr, pause)


async def restart(browser: Browser, session: SignedIn) -> str:
    """Continue a session under a new id and token, after all of the user's sessions were ended. This is not a sign-in.

    Runs in the caller's transaction, which began while the session was live (:func:`guard_changes`).

    Returns:
        the token for the cookie.
    """
    started = await start(browser, session.user_id, session.done, auth_time=session.auth_time)
    guard_changes(started.session)
    detail = {"amr": session.amr, "restarted": True}
    await record("sign_in", user_id=session.user_id, session_id=started.session.id, detail=detail)
    return started.token


async def store_challenge(session: SignedIn, challenge: bytes) -> None:
    """Store the challenge that the next new passkey of this session must sign."""
    await sessions.store_challenge(session.user_id, session.id, challenge)


async def consume_challenge(session: SignedIn) -> bytes | None:
    """Consume the challenge that a new passkey must sign, in the transaction that stores the passkey."""
    return await sessions.consume_challenge(session.user_id, session.id)


async def end(session: SignedIn | SessionKey, reason: str) -> None:
    """End a session."""
    async with transaction():
        if await sessions.end_session(session.user_id, session.id, reason):
            await record("sign_out", user_id=session.user_id, session_id=session.id)
