"""Authorization requests that wait for the user to sign in or consent: validated, stored, bound to one browser."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from litestar import Request

from idp import ids
from idp.infra import i18n
from idp.infra.i18n import gettext as _
from idp.oauth.authorize import repository
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


async def store(key: BrowserKey, asked: AuthorizationRequest) -> PendingRequest:
    """Store a request for this browser. The response must set the cookies of the browser's key."""
    binding = key.bind()
    return PendingRequest(binding, asked, await _insert(binding.id, binding.hash, asked))


async def store_unclaimed(asked: AuthorizationRequest) -> str:
    """Store a request that came by POST, without our cookies. Returns the path of the GET that :func:`claim` binds."""
    request_id = ids.random_token()
    await _insert(request_id, None, asked)
    return f"/authorize/{request_id}"


async def claim(key: BrowserKey, request_id: str) -> str | None:
    """Bind a request that came by POST to the browser that follows the redirect, once. Returns its new path.

    An attacker who knows the address gains nothing: they could send the browser the request itself.
    """
    binding = key.bind()
    claimed = await repository.claim_request(request_id, binding.id, binding.hash)
    return f"/authorize/{binding.id}" if claimed else None


async def _insert(id: str, browser_hash: bytes | None, asked: AuthorizationRequest) -> datetime:
    return await repository.insert_request(id, browser_hash, asked.client_id, asked.to_json(), settings().flow_lifetime)


def path(pending: PendingRequest) -> str:
    return f"/authorize/{pending.binding.id}"


async def load(request: Request[Any, Any, Any], id: str) -> PendingRequest:
    """The pending request of this browser that the URL names.

    Raises:
        PageError: it is unknown, expired, finished, or bound to another browser.
    """
    binding = BrowserBinding.read(request, id)
    if binding is None and await repository.is_pending(id):
        raise flows.unbound(request)
    return await load_bound(binding)


async def load_bound(binding: BrowserBinding | None) -> PendingRequest:
    """The pending request with this id and secret.

    Raises:
        PageError: it is unknown, expired or finished.
    """
    stored = await repository.find_request(binding.id, binding.hash) if binding else None
    if binding is None or stored is None or not stored.live:
        raise flows.expired()
    asked = AuthorizationRequest.from_json(stored.request)
    if stored.finished:
        raise flows.FlowFinishedError(way_out=_to_application(asked))
    i18n.prefer(asked.ui_locales)
    return PendingRequest(binding, asked, stored.created_at, stored.consented_by)


def _to_application(asked: AuthorizationRequest) -> tuple[tuple[str, str], ...]:
    """A link to the application of a finished request."""
    client = registry.client(asked.client_id)
    url = (client.client_uri if client is not None else None) or origin_of(asked.redirect_uri)
    if client is None or url is None:
        return ()
    return ((_("Continue to %(application)s") % {"application": client.client_name}, url),)


async def finish(pending: PendingRequest) -> None:
    """Finish the request, once. In the transaction that issues the code.

    Raises:
        PageError: it is finished already, or expired.
    """
    if not await repository.finish_request(pending.binding.id, pending.binding.hash):
        raise flows.finished()


async def mark_consented(pending: PendingRequest, user_id: UUID) -> None:
    """Record that this user consented to this request. It does not count for another user who signs in here.

    Raises:
        PageError: it is finished already, or expired.
    """
    if not await repository.set_consented_by(pending.binding.id, pending.binding.hash, user_id):
        raise flows.finished()
