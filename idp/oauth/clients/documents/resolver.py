"""From the URL to the current document: checked, fetched by the guarded client, cached in this worker.

A document that cannot be read is not tried again for a while. That is a limit, not a cached response: the specification
forbids those (section 4.3).
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, NamedTuple, TypeVar

import structlog

from idp.errors import OverloadedError
from idp.infra import outbound
from idp.infra.name_lookups import CLIENTS, STRANGERS, Lookups
from idp.oauth.clients.documents import budgets, document
from idp.oauth.clients.documents.errors import DocumentError
from idp.oauth.clients.documents.freshness import lifetime
from idp.oauth.clients.metadata import ClientMetadata
from idp.reasons import Reason

log = structlog.get_logger()

TIMEOUT_SECONDS = 5.0
#: Maximum number of documents, and of failures, that a worker remembers.
CACHE_SIZE = 1000
#: Maximum number of fetches of one worker at a time: of clients that users have allowed, and of other documents.
MAX_FETCHES = 20
_HEADERS = {"Accept": "application/json"}

_Value = TypeVar("_Value")


class Fetched(NamedTuple):
    """A document. ``lifetime`` is in seconds, from its arrival."""

    metadata: ClientMetadata
    lifetime: float


class _Cache(Generic[_Value]):
    """Values that expire, at most ``CACHE_SIZE``: the one unused for longest leaves first."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, tuple[float, _Value]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> _Value | None:
        until, value = self._entries.get(key, (0.0, None))
        if until <= time.monotonic():
            self._entries.pop(key, None)
            return None
        self._entries.move_to_end(key)
        return value

    def put(self, key: str, value: _Value, seconds: float) -> None:
        self._entries[key] = (time.monotonic() + seconds, value)
        self._entries.move_to_end(key)
        if len(self._entries) > CACHE_SIZE:
            self._entries.popitem(last=False)

    def clear(self) -> None:
        self._entries.clear()


fresh: _Cache[ClientMetadata] = _Cache()
failed: _Cache[DocumentError] = _Cache()
#: The fetches that are running: of clients that users have allowed, and of other documents.
_running: dict[bool, dict[str, asyncio.Future[ClientMetadata]]] = {True: {}, False: {}}


async def once(url: str, load: Callable[[], Awaitable[ClientMetadata]], *, stored: bool) -> ClientMetadata:
    """Return what ``load`` returns, which runs once for all requests of this worker that wait for it.

    Args:
        stored: whether a user has allowed the client. Slow sites of strangers cannot keep it waiting.

    Raises:
        DocumentError: the document cannot be read, or could not a moment ago.
        TryLaterError: a budget is spent, or too many fetches run.
    """
    if (error := failed.get(url)) is not None:
        raise DocumentError(error.description, error.reason, hint=error.hint)
    running = _running[stored]
    task = running.get(url)
    if task is None:
        if len(running) >= MAX_FETCHES:
            raise OverloadedError
        # A separate task, so that cancelling the first caller does not cancel the others.
        task = running[url] = asyncio.ensure_future(load())
        task.add_done_callback(lambda done: _finished(url, done, stored=stored))
    return await asyncio.shield(task)


def _finished(url: str, task: asyncio.Future[ClientMetadata], *, stored: bool) -> None:
    _running[stored].pop(url, None)
    if not task.cancelled():
        # If all callers were cancelled, nobody else looks at it.
        task.exception()


async def fetch(url: str, *, stored: bool) -> Fetched:
    """Fetch a document. The caller puts it into the cache, when it is stored as well if it must be.

    Args:
        url: is checked already.
        stored: whether a user has allowed the client, for the budgets.

    Raises:
        DocumentError: it cannot be fetched, or is not valid.
        TryLaterError: a budget is spent.
    """
    await budgets.count_fetch(url, stored=stored)
    try:
        return await _get(url, CLIENTS if stored else STRANGERS)
    except DocumentError as error:
        log.info("client_document_refused", client_id=url, reason=error.reason, hint=error.hint)
        failed.put(url, error, budgets.RETRY_AFTER)
        raise


async def _get(url: str, lookups: Lookups) -> Fetched:
    try:
        response = await outbound.get_document(
            url, _HEADERS, timeout_seconds=TIMEOUT_SECONDS, max_bytes=document.MAX_BYTES, lookups=lookups
        )
    except outbound.CallFailed as error:
        # Only the log has the cause: a client_id must not serve to explore the network.
        raise DocumentError("It cannot be fetched.", Reason.DOCUMENT_UNAVAILABLE, hint=outbound.cause(error)) from error
    metadata = document.read(url, response.headers.get("content-type", ""), response.body)
    return Fetched(metadata, lifetime(response.headers))
