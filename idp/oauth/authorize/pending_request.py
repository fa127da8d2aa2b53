"""Authorization requests that wait for their user, stored once validated and bound to one browser."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from litestar import Request

from idp import ids
from idp.infra import i18n
from idp.infra.db.engine import execute, fetchrow
from idp.infra.i18n import gettext as _
from idp.oauth.authorize.request import AuthorizationRequest
from idp.oauth.clients.registry import registry
from idp.oauth.clients.uris import origin_of
from idp.settings import settings
from idp.signin import flow as flows
from idp.signin.browser import BrowserBinding, BrowserKey


class PendingRequest(msgspec.Struct, frozen=True):
    """An unfinished authorization request of this browser."""

    binding: BrowserBinding
    asked: AuthorizationRequest
    created_at: datetime
    consented_by: UUID | None = None


_INSERT = """
    INSERT INTO authorization_request (id, browser_hash, client_id, request, created_at, expires_at)
    VALUES ($1, $2, $3, $4, now(), now() + make_interval(secs => $5)) RETURNING created_at
"""
# The request of this browser begins here: a sign-in before that is none for it.
_CLAIM = """
    UPDATE authorization_request SET id = $2, browser_hash = $3, created_at = now()
    WHERE id = $1 AND browser_hash IS NULL AND finished_at IS NULL AND expires_at > now()
"""
_FIND = """
    SELECT request, consented_by, created_at, finished_at IS NOT NULL AS finished, expires_at > now() AS live
    FROM authorization_request WHERE id = $1 AND browser_hash = $2
"""
_IS_LIVE = "SELECT 1 FROM authorization_request WHERE id = $1 AND finished_at IS NULL AND expires_at > now()"
_STILL_WAITS = "id = $1 AND browser_hash = $2 AND finished_at IS NULL AND expires_at > now()"
_FINISH = f"UPDATE authorization_request SET finished_at = now() WHERE {_STILL_WAITS}"  # noqa: S608
_CONSENT = f"UPDATE authorization_request SET consented_by = $3 WHERE {_STILL_WAITS}"  # noqa: S608


async def store(key: BrowserKey, asked: AuthorizationRequest) -> PendingRequest:
    """Keep a request until its user is ready. Send the cookies of the browser's key along."""
    binding = key.bind()
    return PendingRequest(binding, asked, await _insert(binding.id, binding.hash, asked))


async def store_unclaimed(asked: AuthorizationRequest) -> str:
    """Keep a request that came by POST, without our cookies. Returns the path of the GET that :func:`claim` binds."""
    request_id = ids.random_token()
    await _insert(request_id, None, asked)
    return f"/authorize/{request_id}"


async def claim(key: BrowserKey, request_id: str) -> str | None:
    """Bind a request that came by POST to the browser that follows the redirect, once. Returns its new path.

    Whoever has the address could as well send the browser to the request itself.
    """
    binding = key.bind()
    claimed = await execute(_CLAIM, request_id, binding.id, binding.hash)
    return f"/authorize/{binding.id}" if claimed else None


async def _insert(id: str, browser_hash: bytes | None, asked: AuthorizationRequest) -> datetime:
    row = await fetchrow(_INSERT, id, browser_hash, asked.client_id, asked.to_json(), settings().flow_lifetime)
    assert row is not None  # noqa: S101 -- INSERT … RETURNING gives its row
    created_at: datetime = row["created_at"]
    return created_at


def path(pending: PendingRequest) -> str:
    return f"/authorize/{pending.binding.id}"


async def load(request: Request[Any, Any, Any], id: str) -> PendingRequest:
    """The waiting request of this browser that the URL names.

    Raises:
        PageError: it is another browser's, unknown, expired or finished.
    """
    binding = BrowserBinding.read(request, id)
    if binding is None and await fetchrow(_IS_LIVE, id) is not None:
        raise flows.unbound(request)
    return await load_bound(binding)


async def load_bound(binding: BrowserBinding | None) -> PendingRequest:
    """The waiting request of whoever holds its secret.

    Raises:
        PageError: it is unknown, expired or finished.
    """
    row = await fetchrow(_FIND, binding.id, binding.hash) if binding else None
    if binding is None or row is None or not row["live"]:
        raise flows.expired()
    asked = AuthorizationRequest.from_json(row["request"])
    if row["finished"]:
        raise flows.FlowFinishedError(way_out=_to_application(asked))
    i18n.prefer(asked.ui_locales)
    return PendingRequest(binding, asked, row["created_at"], row["consented_by"])


def _to_application(asked: AuthorizationRequest) -> tuple[tuple[str, str], ...]:
    """The way on from a request that was answered: the application that has the answer."""
    client = registry.client(asked.client_id)
    url = (client.client_uri if client is not None else None) or origin_of(asked.redirect_uri)
    if client is None or url is None:
        return ()
    return ((_("Continue to %(application)s") % {"application": client.client_name}, url),)


async def finish(pending: PendingRequest) -> None:
    """End the request, once. Runs in the transaction of what it leads to.

    Raises:
        PageError: it ended meanwhile, or expired.
    """
    if not await execute(_FINISH, pending.binding.id, pending.binding.hash):
        raise flows.finished()


async def mark_consented(pending: PendingRequest, user_id: UUID) -> None:
    """Note that this user said yes to this very request. For anybody else who signs in here it says nothing."""
    if not await execute(_CONSENT, pending.binding.id, pending.binding.hash, user_id):
        raise flows.finished()
