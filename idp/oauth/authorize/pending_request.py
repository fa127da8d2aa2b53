"""Authorization requests that wait for the user to sign in or consent: validated, stored, bound to one browser."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import msgspec

from idp import ids
from idp.errors import FlowExpiredError, FlowFinishedError, FlowNotBoundError
from idp.infra import i18n
from idp.oauth.authorize import repository
from idp.oauth.authorize.request import AuthorizationRequest
from idp.oauth.clients.documents.identifiers import shown_name
from idp.oauth.clients.login_uri import login_uri
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.clients.uris import origin_of
from idp.settings import settings
from idp.signin.browser import Browser, BrowserBinding, BrowserKey
from idp.trace import recorder


class PendingRequest(msgspec.Struct, frozen=True):
    """An unfinished authorization request of this browser.

    ``organization_id`` is the organization that the user ``chosen_by`` chose.
    """

    binding: BrowserBinding
    asked: AuthorizationRequest
    created_at: datetime
    consented_by: UUID | None = None
    organization_id: UUID | None = None
    chosen_by: UUID | None = None


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


async def load(browser: Browser, id: str) -> PendingRequest:
    """Return the pending request of this browser that the URL names.

    Raises:
        FlowError: it is unknown, expired, finished, or bound to another browser.
    """
    binding = browser.binding(id)
    if binding is None and (trace_id := await repository.trace_of_pending(id)) is not None:
        recorder.follow(trace_id)
        raise FlowNotBoundError(sends_keys=bool(browser.keys))
    return await load_bound(binding)


async def load_bound(binding: BrowserBinding | None) -> PendingRequest:
    """Return the pending request with this id and secret.

    Raises:
        FlowError: it is unknown, expired or finished.
    """
    stored = await repository.find_request(binding.id, binding.hash) if binding else None
    if binding is None or stored is None:
        raise FlowExpiredError
    asked = AuthorizationRequest.from_json(stored.request)
    recorder.follow(asked.trace_id)
    recorder.about(client_id=asked.client_id)
    if stored.finished:
        raise FlowFinishedError(application=_application(asked, None))
    if not stored.live:
        raise FlowExpiredError(application=_application(asked, login_uri))
    i18n.prefer(asked.ui_locales)
    return PendingRequest(
        binding, asked, stored.created_at, stored.consented_by, stored.organization_id, stored.chosen_by
    )


def _application(asked: AuthorizationRequest, begin: Callable[[Client], str | None] | None) -> tuple[str, str] | None:
    """Name and URL of the application that asked.

    Args:
        begin: returns the URL at which it begins a sign-in. None: its home page.
    """
    client = registry.client(asked.client_id)
    if client is None:
        return None
    # The addresses of a client by document may be anywhere.
    home = (begin and begin(client)) or client.client_uri if client.origin != "document" else None
    url = home or origin_of(asked.redirect_uri)
    return (shown_name(client.client_id, client.client_name), url) if url is not None else None


async def finish(pending: PendingRequest) -> None:
    """Finish the request, once. In the transaction that issues the code.

    Raises:
        FlowFinishedError: it is finished already, or expired.
    """
    if not await repository.finish_request(pending.binding.id, pending.binding.hash):
        raise FlowFinishedError


async def mark_consented(pending: PendingRequest, user_id: UUID) -> None:
    """Record that this user consented to this request. It does not count for another user who signs in here.

    Raises:
        FlowFinishedError: it is finished already, or expired.
    """
    if not await repository.set_consented_by(pending.binding.id, pending.binding.hash, user_id):
        raise FlowFinishedError


async def choose_organization(pending: PendingRequest, organization_id: UUID, user_id: UUID) -> None:
    """Record the organization that this user chose for this request. It does not count for another user.

    Raises:
        FlowFinishedError: the request is finished already, or expired.
    """
    binding = pending.binding
    if not await repository.choose_organization(binding.id, binding.hash, organization_id, user_id):
        raise FlowFinishedError
