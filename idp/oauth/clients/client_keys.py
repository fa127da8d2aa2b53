"""The keys of clients, by value or at their ``jwks_uri`` (RFC 7591 section 2), and the verification of their JWTs.

Keys at a URI are cached in this process. The cache has a limit, and so has the age of its entries. A URI is fetched
again when a token names an unknown key, but never more than once a minute. Clients that registered themselves have a
cache of their own, with few fetches at a time, because anybody can register many of them.
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import urlsplit

import structlog

from idp.errors import RemoteError
from idp.infra import foreign_json, outbound
from idp.infra.name_lookups import CONFIGURED, STRANGERS, Lookups
from idp.keys import jose
from idp.oauth.clients.models import Client

log = structlog.get_logger()

JWKS = Sequence[Mapping[str, Any]]

#: Time limit of a fetch, in seconds, and the maximum size of a document, in bytes.
SECONDS, MAX_BYTES = 5.0, 64 * 1024
#: Maximum number of keys of a document. Further ones are ignored.
MAX_KEYS = 100
#: Maximum number of cached documents, and of those that are kept decoded, which takes up to twenty times the memory.
#: The one that was not used for the longest time is dropped.
MAX_ENTRIES, MAX_DECODED = 1000, 64
#: Maximum number of fetches at a time for clients that registered themselves. Further ones fail at once.
MAX_FETCHES = 20
#: Age of a document at which it is fetched again; and up to which it is used while its server does not respond.
LIFETIME, USABLE = 600.0, 3600.0
#: Minimum number of seconds between two fetches of a URI.
FETCH_INTERVAL = 60.0


class KeysUnavailableError(RemoteError):
    """Keys cannot be fetched."""


class KeyOwner(Protocol):
    """Who has keys: a client, or a trusted issuer."""

    @property
    def jwks(self) -> Mapping[str, Any] | None: ...

    @property
    def jwks_uri(self) -> str | None: ...


class _Entry:
    """The document at one URI."""

    def __init__(self, uri: str, cache: "_Cache") -> None:
        self.uri = uri
        self.cache = cache
        self.body: bytes | None = None
        self.fetched = self.tried = -USABLE
        self.fetch: asyncio.Task[None] | None = None

    def age(self) -> float:
        return time.monotonic() - self.fetched

    def may_be_fetched(self) -> bool:
        return time.monotonic() - self.tried >= FETCH_INTERVAL

    async def update(self) -> None:
        """Fetch the document. Concurrent callers share one fetch, and wait for it to end."""
        if self.fetch is None:
            if self.cache.fetches >= self.cache.max_fetches:
                return
            self.cache.fetches += 1
            self.tried = time.monotonic()
            # A separate task, so that cancelling the first caller does not cancel the others.
            self.fetch = asyncio.create_task(self._fetch())
        await asyncio.shield(self.fetch)

    async def _fetch(self) -> None:
        try:
            headers = {"Accept": "application/jwk-set+json, application/json"}
            body = await outbound.get(
                self.uri, headers, timeout_seconds=SECONDS, max_bytes=MAX_BYTES, lookups=self.cache.lookups
            )
            _decoded(body)
            self.body, self.fetched = body, time.monotonic()
        except outbound.CallFailed as error:
            # What is cached stays usable for a while.
            log.warning("jwks_not_fetched", host=_host(self.uri), **outbound.failure_fields(error))
        except ValueError:
            log.warning("jwks_not_fetched", host=_host(self.uri), reason="The document is not JSON.")
        finally:
            self.fetch = None
            self.cache.fetches -= 1


def _host(uri: str) -> str | None:
    """Return the host of a URI, which another server may have given; None if it is no URI."""
    try:
        return urlsplit(uri).hostname
    except ValueError:
        return None


class _Cache(OrderedDict[str, _Entry]):
    """Documents by URI."""

    def __init__(self, max_fetches: float, lookups: Lookups) -> None:
        super().__init__()
        self.fetches, self.max_fetches, self.lookups = 0, max_fetches, lookups

    def entry(self, uri: str) -> _Entry:
        entry = self.get(uri)
        if entry is None:
            entry = self[uri] = _Entry(uri, self)
            while len(self) > MAX_ENTRIES:
                self.popitem(last=False)
        self.move_to_end(uri)
        return entry


_cache, _cache_of_self_registered = _Cache(math.inf, CONFIGURED), _Cache(MAX_FETCHES, STRANGERS)


def _entry(owner: KeyOwner, uri: str) -> _Entry:
    self_registered = isinstance(owner, Client) and owner.origin != "admin"
    return (_cache_of_self_registered if self_registered else _cache).entry(uri)


@lru_cache(maxsize=MAX_DECODED)
def _decoded(body: bytes) -> object:
    return foreign_json.decode(body)


def keys_of_set(jwks: object) -> JWKS:
    """Return the keys of a JWK Set (RFC 7517 section 5), which may be malformed."""
    keys = jwks.get("keys") if isinstance(jwks, dict) else None
    return [key for key in keys[:MAX_KEYS] if isinstance(key, dict)] if isinstance(keys, list) else []


async def keys(owner: KeyOwner) -> JWKS:
    """Return the keys of a client or issuer.

    Raises:
        KeysUnavailableError: they cannot be fetched.
    """
    return keys_of_set(owner.jwks if owner.jwks_uri is None else await _document(_entry(owner, owner.jwks_uri)))


async def verify(owner: KeyOwner, token: str, algorithms: Collection[str], types: Collection[str]) -> jose.Claims:
    """Return the claims of a JWT that a client or issuer signed. For an unknown key, its keys are fetched again.

    Args:
        algorithms, types: as of :func:`idp.keys.jose.verify_registered`.

    Raises:
        InvalidJWTError: the token is not valid.
        KeysUnavailableError: the keys cannot be fetched.
    """
    try:
        return jose.verify_registered(token, await keys(owner), algorithms, types)
    except jose.NoMatchingKeyError:
        if owner.jwks_uri is None or not await _refetched(_entry(owner, owner.jwks_uri)):
            raise
        return jose.verify_registered(token, await keys(owner), algorithms, types)


async def find(owner: KeyOwner, fits: Callable[[Mapping[str, Any]], bool]) -> bool:
    """Return whether a client has a key that fits. If none does, its keys are fetched again.

    Raises:
        KeysUnavailableError: the keys cannot be fetched.
    """
    if any(map(fits, await keys(owner))):
        return True
    if owner.jwks_uri is None or not await _refetched(_entry(owner, owner.jwks_uri)):
        return False
    return any(map(fits, await keys(owner)))


async def document(uri: str) -> object:
    """Return the JSON document at a URI that an administrator trusts, from the cache if it is young enough.

    Raises:
        KeysUnavailableError: it cannot be fetched.
    """
    return await _document(_cache.entry(uri))


async def _document(entry: _Entry) -> object:
    if entry.age() >= LIFETIME and (entry.fetch or entry.may_be_fetched()):
        await entry.update()
    if entry.body is None or entry.age() >= USABLE:
        raise KeysUnavailableError("The keys cannot be fetched.")
    return _decoded(entry.body)


async def _refetched(entry: _Entry) -> bool:
    """Fetch the keys again, unless they were fetched a moment ago. Returns whether they may have changed."""
    if not entry.fetch and not entry.may_be_fetched():
        return False
    await entry.update()
    return True
