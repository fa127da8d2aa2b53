"""Browser sessions: who is signed in here, since when, and how that was proved."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from litestar import Request
from litestar.datastructures import Cookie

from idp import clock, ids
from idp.audit.events import record
from idp.db.engine import execute, fetchrow
from idp.settings import settings
from idp.web import cookies
from idp.web.context import client_address

#: How stale ``last_seen_at`` may get before it is written again, so that not every request writes.
LAST_SEEN_PRECISION = timedelta(minutes=1)

_LIVE = """
    s.token_hash = $1 AND s.ended_at IS NULL AND s.expires_at > now()
    AND s.last_seen_at > now() - make_interval(secs => $2)
    AND u.id = s.user_id AND u.disabled_at IS NULL
"""
_FIND = f"""
    SELECT s.id, s.user_id, s.auth_time, s.amr, s.acr, s.last_seen_at < now() - $3::interval AS stale
    FROM session AS s, users AS u WHERE {_LIVE}
"""  # noqa: S608
_TOUCH = f"UPDATE session AS s SET last_seen_at = now() FROM users AS u WHERE {_LIVE}"  # noqa: S608
_RENEW = """
    UPDATE session SET token_hash = $3, auth_time = now(), last_seen_at = now(), amr = $4, acr = $5
    WHERE token_hash = $1 AND user_id = $2 AND ended_at IS NULL AND expires_at > now()
    RETURNING id
"""
_INSERT = """
    INSERT INTO session (id, token_hash, user_id, auth_time, amr, acr, user_agent, ip_address,
                         created_at, last_seen_at, expires_at)
    VALUES ($1, $2, $3, now(), $4, $5, $6, $7, now(), now(), now() + make_interval(secs => $8))
"""
_END = "UPDATE session SET ended_at = now() WHERE id = $1 AND ended_at IS NULL"
_END_OTHERS = "UPDATE session SET ended_at = now() WHERE user_id = $1 AND id <> $2 AND ended_at IS NULL"
_END_PREVIOUS = "UPDATE session SET ended_at = now() WHERE token_hash = $1 AND ended_at IS NULL"


class SignedIn(msgspec.Struct, frozen=True):
    """A live session. ``id`` is the ``sid`` claim; the others are the claims of OpenID Connect Core section 2."""

    id: UUID
    user_id: UUID
    auth_time: datetime
    amr: tuple[str, ...]
    acr: str

    def age(self) -> float:
        """Seconds since the person proved who they are."""
        return (clock.now() - self.auth_time).total_seconds()


async def current(request: Request[Any, Any, Any]) -> SignedIn | None:
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
    return SignedIn(row["id"], row["user_id"], row["auth_time"], tuple(row["amr"]), row["acr"])


async def begin(request: Request[Any, Any, Any], user_id: UUID, amr: list[str], acr: str) -> Cookie:
    """Sign a user in at this browser and return the cookie to set. Runs in the caller's transaction.

    The cookie's value is new at every sign-in. The same user keeps the session, and so the ``sid``; another user's
    session at this browser ends.
    """
    token, previous = ids.random_token(), cookies.read(request, cookies.SESSION)
    renewed = None
    if previous is not None:
        renewed = await fetchrow(_RENEW, ids.digest(previous), user_id, ids.digest(token), amr, acr)
    if renewed is not None:
        session_id = renewed["id"]
    else:
        if previous is not None:
            await execute(_END_PREVIOUS, ids.digest(previous))
        session_id = ids.uuid7()
        # Printable ASCII only: PostgreSQL stores no NUL, and nobody needs control characters in a list of devices.
        agent = "".join(c for c in request.headers.get("user-agent", "")[:300] if " " <= c <= "~")
        await execute(
            _INSERT, session_id, ids.digest(token), user_id, amr, acr, agent, client_address.get(),
            settings().session_lifetime,
        )  # fmt: skip
    if settings().single_session:
        await execute(_END_OTHERS, user_id, session_id)
    await record("sign_in", user_id=user_id, session_id=session_id, detail={"amr": amr})
    return cookies.make(cookies.SESSION, token, max_age=settings().session_lifetime)


async def end(session: SignedIn) -> Cookie:
    """End a session and return the cookie that removes it from the browser."""
    if await execute(_END, session.id):
        await record("sign_out", user_id=session.user_id, session_id=session.id)
    return cookies.delete(cookies.SESSION)
