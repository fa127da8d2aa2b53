"""Browsers that a user signed in with before, each known by a cookie of its own."""

from typing import Any, NamedTuple
from uuid import UUID

from litestar import Request
from litestar.datastructures import Cookie

from idp import ids
from idp.http import cookies
from idp.infra.db.engine import execute, fetchrow
from idp.settings import DAY, settings

COOKIE = "device"
#: How long a browser stays known without a sign-in.
LIFETIME = 365 * DAY

_KNOWN = """
    SELECT d.id, u.email, d.second_step_at IS NOT NULL AS second_step
    FROM device AS d JOIN users AS u ON u.id = d.user_id
    WHERE d.token_hash = $1 AND d.expires_at > now() AND u.disabled_at IS NULL
    AND ($2::uuid IS NULL OR u.id = $2) AND ($3::text IS NULL OR u.email = $3)
    ORDER BY d.id LIMIT 1
"""
#: Knows a browser again after a sign-in, that of the ``flow`` that a statement has finished. An app has no cookie.
#: All that was known by the cookie that the browser brought moves to the new one: a copy of the old one is worth
#: nothing. Returns whose browser it was before; :data:`REMEMBER` follows as another part of the statement.
MOVE = f"""
    UPDATE device AS d SET token_hash = :new_device, trusted_until = CASE WHEN d.user_id = :user_id
               THEN coalesce(now() + make_interval(secs => :trusted_for), d.trusted_until) ELSE d.trusted_until END,
           second_step_at = CASE WHEN d.user_id = :user_id AND :second_step THEN now() ELSE d.second_step_at END,
           expires_at = CASE WHEN d.user_id = :user_id
               THEN now() + interval '{LIFETIME} seconds' ELSE d.expires_at END
    FROM flow WHERE d.token_hash = :device_hash AND :new_device::bytea IS NOT NULL RETURNING d.user_id
"""  # noqa: S608
REMEMBER = f"""
    INSERT INTO device (id, token_hash, user_id, created_at, trusted_until, second_step_at, expires_at)
    SELECT :device_id, :new_device, :user_id, now(), now() + make_interval(secs => :trusted_for),
           CASE WHEN :second_step::boolean THEN now() END, now() + interval '{LIFETIME} seconds'
    FROM flow WHERE :new_device::bytea IS NOT NULL AND NOT EXISTS (SELECT FROM moved WHERE user_id = :user_id)
"""  # noqa: S608
_DISTRUST = """
    UPDATE device SET trusted_until = NULL, second_step_at = NULL
    WHERE user_id = $1 AND (trusted_until IS NOT NULL OR second_step_at IS NOT NULL)
"""


class Known(NamedTuple):
    """A browser that a person signed in with before.

    Attributes:
        id: of the row, which stays when the cookie is replaced.
        email: the person's address.
        second_step: they used a second factor there.
    """

    id: UUID
    email: str
    second_step: bool


async def find_known(
    request: Request[Any, Any, Any] | None, *, user_id: UUID | None = None, email: str | None = None
) -> Known | None:
    """Whether a person signed in at this browser before.

    Args:
        request: None where an app asks, which is never known.
        user_id, email: who it must be. With neither, the first person who signed in there.
    """
    token = cookies.read(request, COOKIE) if request is not None else None
    row = await fetchrow(_KNOWN, ids.digest(token), user_id, email) if token else None
    return Known(*row) if row is not None else None


class Remembered(NamedTuple):
    """What knows a browser again: parameters of :data:`MOVE` and :data:`REMEMBER`, and the cookie to set."""

    values: dict[str, object]
    cookie: Cookie | None = None


def remembered(browser: Request[Any, Any, Any] | None, *, trust: bool, second_step: bool) -> Remembered:
    """Know a browser again. It has one cookie, whoever signs in with it, and a new one at every sign-in: whoever used
    the browser before may have kept the old one.

    Args:
        browser: None where an app asks, which is not known again.
        trust: ask for no second factor here for a while, where the settings allow that.
        second_step: a second factor was used.
    """
    if browser is None:
        return Remembered({"device_id": None, "new_device": None, "trusted_for": None, "second_step": False})
    token = ids.random_token()
    trusted_for = settings().trusted_device_lifetime if trust else 0
    values = {
        "device_id": ids.uuid7(),
        "new_device": ids.digest(token),
        "trusted_for": float(trusted_for) if trusted_for > 0 else None,
        "second_step": second_step,
    }
    return Remembered(values, cookies.make(COOKIE, token, max_age=LIFETIME))


async def distrust_all(user_id: UUID) -> None:
    """Ask for the second factor everywhere again. The browsers stay known. In the caller's transaction."""
    await execute(_DISTRUST, user_id)
