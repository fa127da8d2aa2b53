"""Browsers that a user signed in with before, each known by a cookie of its own."""

from typing import Any
from uuid import UUID

from litestar import Request
from litestar.datastructures import Cookie

from idp import ids
from idp.db.engine import execute, fetchrow
from idp.settings import DAY, settings
from idp.web import cookies

COOKIE = "device"
#: How long a browser stays known without a sign-in.
LIFETIME = 365 * DAY

_KNOWN = "SELECT id FROM device WHERE token_hash = $1 AND user_id = $2 AND expires_at > now()"
_TRUSTED = f"{_KNOWN} AND trusted_until > now()"
_REMEMBER = """
    INSERT INTO device AS d (id, token_hash, user_id, created_at, trusted_until, expires_at)
    VALUES ($1, $2, $3, now(), CASE WHEN $4 > 0 THEN now() + make_interval(secs => $4) END,
            now() + make_interval(secs => $5))
    ON CONFLICT (token_hash, user_id) DO UPDATE SET
        trusted_until = coalesce(EXCLUDED.trusted_until, d.trusted_until), expires_at = EXCLUDED.expires_at
"""
_DISTRUST = "UPDATE device SET trusted_until = NULL WHERE user_id = $1 AND trusted_until IS NOT NULL"


async def known(request: Request[Any, Any, Any], user_id: UUID) -> UUID | None:
    """The device that this browser is, if the user signed in with it before."""
    return await _find(_KNOWN, request, user_id)


async def trusted(request: Request[Any, Any, Any], user_id: UUID) -> bool:
    """Whether the user wished to be asked for no second factor here."""
    return settings().trusted_device_lifetime > 0 and await _find(_TRUSTED, request, user_id) is not None


async def _find(statement: str, request: Request[Any, Any, Any], user_id: UUID) -> UUID | None:
    token = cookies.read(request, COOKIE)
    row = await fetchrow(statement, ids.digest(token), user_id) if token else None
    return row["id"] if row is not None else None


async def remember(request: Request[Any, Any, Any], user_id: UUID, *, trust: bool) -> Cookie:
    """Know this browser again. Runs in the transaction of the sign-in.

    Args:
        trust: ask for no second factor here for a while, where the settings allow that.

    Returns:
        the cookie to set. One browser has one, whoever signs in with it.
    """
    token = cookies.read(request, COOKIE) or ids.random_token()
    seconds = settings().trusted_device_lifetime if trust else 0
    await execute(_REMEMBER, ids.uuid7(), ids.digest(token), user_id, float(seconds), float(LIFETIME))
    return cookies.make(COOKIE, token, max_age=LIFETIME)


async def distrust(user_id: UUID) -> None:
    """Ask for the second factor everywhere again. The browsers stay known. In the caller's transaction."""
    await execute(_DISTRUST, user_id)
