"""Browser sessions: who is signed in here, since when, and how that was proved."""

import math
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from litestar import Request
from litestar.datastructures import Cookie

from idp import clock, ids
from idp.audit.events import record
from idp.errors import PageError
from idp.http import cookies
from idp.http.headers import request_header
from idp.infra.db.engine import authority, execute, fetchrow
from idp.infra.db.named_queries import NamedQuery
from idp.infra.i18n import gettext as _
from idp.infra.request_context import client_address
from idp.settings import settings
from idp.signin import transitions
from idp.signin.transitions import CompletedStep, amr, reached

AnyRequest = Request[Any, Any, Any]

#: How stale ``last_seen_at`` may get before it is written again, so that not every request writes.
LAST_SEEN_PRECISION = timedelta(minutes=1)

_LIVE = """
    s.token_hash = $1 AND s.ended_at IS NULL AND s.expires_at > now()
    AND s.last_seen_at > now() - make_interval(secs => $2)
    AND u.id = s.user_id AND u.disabled_at IS NULL
"""
_FIND = f"""
    SELECT s.id, s.user_id, s.auth_time, s.steps, s.amr, s.acr, s.last_seen_at < now() - $3::interval AS stale
    FROM session AS s, users AS u WHERE {_LIVE}
"""  # noqa: S608
_TOUCH = f"UPDATE session AS s SET last_seen_at = now() FROM users AS u WHERE {_LIVE}"  # noqa: S608
#: Begins a session. Its parameters are those of :func:`begun`; what it goes with may follow as a FROM.
INSERT = """
    INSERT INTO session (id, token_hash, user_id, auth_time, steps, amr, acr, user_agent, ip_address,
                         created_at, last_seen_at, expires_at)
    SELECT :session_id, :token_hash, :user_id, coalesce(:auth_time, now()), :steps, :amr, :acr, :user_agent,
           :ip_address, now(), now(), now() + make_interval(secs => :session_lifetime)
"""
#: Behind :data:`INSERT`, goes on with the session of that id, if it has not ended.
OR_RENEW = """
    ON CONFLICT (id) DO UPDATE SET token_hash = EXCLUDED.token_hash, auth_time = EXCLUDED.auth_time,
        last_seen_at = now(), steps = EXCLUDED.steps, amr = EXCLUDED.amr, acr = EXCLUDED.acr
    WHERE session.ended_at IS NULL AND session.expires_at > now() AND session.user_id = EXCLUDED.user_id
"""
_BEGIN = NamedQuery(INSERT)
# The user first, as everything locks them. Not FOR SHARE: two requests of one person that change the user would wait
# for each other.
_HOLD = """
    SELECT extract(epoch FROM now() - s.auth_time)::float8 AS age, s.auth_time, s.steps FROM users AS u, session AS s
    WHERE u.id = $1 AND u.disabled_at IS NULL
      AND s.id = $2 AND s.user_id = u.id AND s.ended_at IS NULL AND s.expires_at > now()
    FOR NO KEY UPDATE OF u FOR SHARE OF s
"""
_TAKE_CHALLENGE = """
    UPDATE session AS s SET challenge = NULL FROM session AS old
    WHERE s.id = $1 AND old.id = s.id AND s.challenge IS NOT NULL AND s.ended_at IS NULL AND s.expires_at > now()
    RETURNING old.challenge
"""
_END = "UPDATE session SET ended_at = now() WHERE id = $1 AND ended_at IS NULL"


class SignedIn(msgspec.Struct, frozen=True):
    """A live session. ``id`` is the ``sid`` claim; ``amr`` and ``acr`` are those of OpenID Connect Core section 2.

    ``auth_time`` is when the person signed in here. The claim of that name is :attr:`proved_at`.
    """

    id: UUID
    user_id: UUID
    auth_time: datetime
    done: tuple[CompletedStep, ...]
    amr: tuple[str, ...]
    acr: str

    @property
    def auth_age(self) -> int | None:
        """Seconds by which the proof was older than the sign-in: that of an account elsewhere, or one that a step-up
        went on with. None: nobody knows.
        """
        return transitions.auth_age(self.done, self.auth_time)

    @property
    def proved_at(self) -> datetime | None:
        """When the person proved who they are, as far as anybody knows."""
        age = self.auth_age
        return None if age is None else self.auth_time - timedelta(seconds=age)

    def proved_since(self, moment: datetime) -> bool:
        """Whether it is known that the person proved who they are after a moment."""
        return self.proved_at is not None and self.proved_at >= moment

    def age(self) -> float:
        """Seconds since the person proved who they are; without end where nobody knows when that was."""
        proved_at = self.proved_at
        return math.inf if proved_at is None else (clock.now() - proved_at).total_seconds()


async def current(request: AnyRequest) -> SignedIn | None:
    """Who is signed in at this browser, if anyone. Using a session keeps it from idling out."""
    token = cookies.read(request, cookies.SESSION)
    if token is None:
        return None
    idle = settings().session_idle_lifetime
    row = await fetchrow(_FIND, ids.digest(token), idle, LAST_SEEN_PRECISION)
    if row is None:
        return None
    if row["stale"]:
        await execute(_TOUCH, ids.digest(token), idle)
    done = tuple(map(CompletedStep.parse, row["steps"]))
    return SignedIn(row["id"], row["user_id"], row["auth_time"], done, tuple(row["amr"]), row["acr"])


async def lock(session: SignedIn, *, fresh: bool = False) -> None:
    """Check that a session is live and its user not disabled, and keep it so for the rest of the transaction.

    Args:
        fresh: check too that the sign-in was not long ago.

    Raises:
        PageError: the session ended meanwhile, or the sign-in became old.
    """
    row = await fetchrow(_HOLD, session.user_id, session.id)
    if row is None:
        raise ended()
    # By the row: a step-up may have changed both meanwhile.
    older = transitions.auth_age(map(CompletedStep.parse, row["steps"]), row["auth_time"])
    if fresh and (older is None or row["age"] + older > settings().reauthentication_lifetime):
        raise ended()


async def lock_live(user_id: UUID, session_id: UUID) -> bool:
    """As :func:`lock`, for who knows what to say."""
    return await fetchrow(_HOLD, user_id, session_id) is not None


def ended() -> PageError:
    """The session of the request ended while it was answered."""
    return PageError(
        _("You were signed out meanwhile"),
        _("Nothing was changed. Sign in and try again."),
        status=HTTPStatus.FORBIDDEN,
    )


def guard_changes(session: SignedIn, *, fresh: bool = False) -> None:
    """Let a request change something only while its session lives; arguments as of :func:`lock`."""
    authority.set(partial(lock, session, fresh=fresh))


class Begun(NamedTuple):
    """A session about to begin: the parameters of :data:`INSERT` and the cookie to set.

    The cookie's value is new at every sign-in, also where the session is one that goes on.
    """

    values: dict[str, object]
    cookie: Cookie


def begun(
    request: AnyRequest,
    user_id: UUID,
    done: tuple[CompletedStep, ...],
    *,
    session_id: UUID,
    auth_time: datetime | None = None,
) -> Begun:
    """What begins a session of a user.

    Args:
        done: the steps that were taken; they reach some ``acr``.
        session_id: a new one, or that of the session to go on with.
        auth_time: when they were taken; by default now.
    """
    token = ids.random_token()
    # Printable ASCII only: PostgreSQL stores no NUL, and nobody needs control characters in a list of devices.
    agent = "".join(c for c in (request_header(request.scope, b"user-agent") or "")[:300] if " " <= c <= "~")
    values = {
        "session_id": session_id,
        "token_hash": ids.digest(token),
        "user_id": user_id,
        "auth_time": auth_time,
        "steps": [str(step) for step in done],
        "amr": amr(done),
        "acr": reached(done),
        "user_agent": agent,
        "ip_address": client_address.get(),
        "session_lifetime": settings().session_lifetime,
    }
    return Begun(values, cookies.make(cookies.SESSION, token, max_age=settings().session_lifetime))


async def restart(request: AnyRequest, session: SignedIn) -> Cookie:
    """Go on with a session under a new cookie, after every one of the user's was ended. Nobody signed in by this.

    Runs in the caller's transaction, which began while the session was live (:func:`guard_changes`).
    """
    session_id = ids.uuid7()
    new = begun(request, session.user_id, session.done, session_id=session_id, auth_time=session.auth_time)
    await _BEGIN.fetchrow(**new.values)
    guard_changes(msgspec.structs.replace(session, id=session_id))
    await record("sign_in", user_id=session.user_id, session_id=session_id, detail={"amr": session.amr})
    return new.cookie


async def store_challenge(session_id: UUID, challenge: bytes) -> None:
    """Keep what a new passkey of this session must answer."""
    await execute("UPDATE session SET challenge = $2 WHERE id = $1", session_id, challenge)


async def consume_challenge(session_id: UUID) -> bytes | None:
    """What a new passkey must answer, once, while the session lives. In the transaction that keeps the passkey."""
    row = await fetchrow(_TAKE_CHALLENGE, session_id)
    return bytes(row["challenge"]) if row is not None else None


async def end(session: SignedIn) -> Cookie:
    """End a session and return the cookie that removes it from the browser."""
    if await execute(_END, session.id):
        await record("sign_out", user_id=session.user_id, session_id=session.id)
    return cookies.delete(cookies.SESSION)
