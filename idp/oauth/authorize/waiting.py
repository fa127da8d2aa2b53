"""Authorization requests that wait for their user, stored once validated and bound to one browser."""

from datetime import datetime
from typing import Any

import msgspec
from litestar import Request
from litestar.datastructures import Cookie

from idp.db.engine import execute, fetchrow
from idp.oauth.authorize.request import AuthorizationRequest
from idp.settings import settings
from idp.signin import flow as flows
from idp.web import i18n
from idp.web.binding import Binding


class Waiting(msgspec.Struct, frozen=True):
    """An unfinished authorization request of this browser."""

    binding: Binding
    asked: AuthorizationRequest
    created_at: datetime
    consented: bool = False


_INSERT = """
    INSERT INTO authorization_request (id, browser_hash, client_id, request, consented, created_at, expires_at)
    VALUES ($1, $2, $3, $4, false, now(), now() + make_interval(secs => $5)) RETURNING created_at
"""
_FIND = """
    SELECT request, consented, created_at, finished_at IS NOT NULL AS finished, expires_at > now() AS live
    FROM authorization_request WHERE id = $1 AND browser_hash = $2
"""
_STILL_WAITS = "id = $1 AND browser_hash = $2 AND finished_at IS NULL AND expires_at > now()"
_FINISH = f"UPDATE authorization_request SET finished_at = now() WHERE {_STILL_WAITS}"  # noqa: S608
_CONSENT = f"UPDATE authorization_request SET consented = true WHERE {_STILL_WAITS}"  # noqa: S608


async def store(asked: AuthorizationRequest) -> Waiting:
    """Keep a request until its user is ready. Send :func:`cookie` along."""
    binding = Binding.new()
    row = await fetchrow(_INSERT, binding.id, binding.hash, asked.client_id, asked.to_json(), settings().flow_lifetime)
    assert row is not None  # noqa: S101 -- INSERT … RETURNING gives its row
    return Waiting(binding, asked, row["created_at"])


def path(pending: Waiting) -> str:
    return f"/authorize/{pending.binding.id}"


def cookie(pending: Waiting) -> Cookie:
    """The cookie that binds the request to the browser, as long as the request lives."""
    return pending.binding.cookie(settings().flow_lifetime)


async def load(request: Request[Any, Any, Any], id: str) -> Waiting:
    """The waiting request of this browser that the URL names.

    Raises:
        PageError: it is another browser's, unknown, expired or finished.
    """
    return await load_bound(Binding.read(request, id))


async def load_bound(binding: Binding | None) -> Waiting:
    """The waiting request of whoever holds its secret.

    Raises:
        PageError: it is unknown, expired or finished.
    """
    row = await fetchrow(_FIND, binding.id, binding.hash) if binding else None
    if binding is None or row is None or not row["live"]:
        raise flows.expired()
    if row["finished"]:
        raise flows.finished()
    asked = AuthorizationRequest.from_json(row["request"])
    i18n.prefer(asked.ui_locales)
    return Waiting(binding, asked, row["created_at"], row["consented"])


async def finish(pending: Waiting) -> None:
    """End the request, once. Runs in the transaction of what it leads to.

    Raises:
        PageError: it ended meanwhile, or expired.
    """
    if not await execute(_FINISH, pending.binding.id, pending.binding.hash):
        raise flows.finished()


async def mark_consented(pending: Waiting) -> None:
    """Note that the person said yes to this very request."""
    if not await execute(_CONSENT, pending.binding.id, pending.binding.hash):
        raise flows.finished()
