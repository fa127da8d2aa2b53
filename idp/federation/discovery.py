"""Fetches and caches the metadata and keys of OpenID providers (OpenID Connect Discovery section 4)."""

import asyncio
import time
from collections import defaultdict
from typing import Any
from urllib.parse import urlsplit

import msgspec

from idp.federation.errors import UpstreamUnavailableError
from idp.infra import foreign_json, outbound
from idp.keys import jose

SECONDS = 5.0
MAX_BYTES = 256 * 1024
#: Lifetime of a cache entry in seconds.
LIFETIME = 3600.0
#: Minimum number of seconds between two fetches that are caused by unknown keys.
REFETCH_AFTER = 30.0


class _CacheEntry(msgspec.Struct):
    content: dict[str, Any]
    fetched: float
    #: Time of the last fetch that was caused by an unknown key.
    refetched: float = -REFETCH_AFTER


_cache: dict[str, _CacheEntry] = {}
#: By URL, so that requests at the same moment share one fetch.
_locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)


async def fetch_json(url: str) -> dict[str, Any]:
    """Fetch a JSON object from a provider.

    Raises:
        UpstreamUnavailableError: the request failed, or the response is not a JSON object.
    """
    try:
        body = await outbound.get(url, {"Accept": "application/json"}, timeout_seconds=SECONDS, max_bytes=MAX_BYTES)
        return foreign_json.decode(body, dict[str, Any])
    except (outbound.CallFailed, ValueError) as error:
        raise UpstreamUnavailableError(f"{url} does not answer as it should. {outbound.cause(error)}") from error


async def _cached(url: str) -> dict[str, Any]:
    if (kept := _fresh(url)) is not None:
        return kept.content
    try:
        # Also for the wait: each of the others fetches if the first fetch fails.
        async with asyncio.timeout(SECONDS), _locks[url]:
            if (kept := _fresh(url)) is None:
                now = time.monotonic()
                kept = _cache[url] = _CacheEntry(await fetch_json(url), now)
            return kept.content
    except TimeoutError as error:
        raise UpstreamUnavailableError(f"{url} does not answer as it should. {outbound.cause(error)}") from error


def _fresh(url: str) -> _CacheEntry | None:
    kept = _cache.get(url)
    return kept if kept is not None and time.monotonic() - kept.fetched <= LIFETIME else None


async def _refetched(url: str) -> dict[str, Any]:
    """Fetch again and cache, at most once in ``REFETCH_AFTER`` seconds. Otherwise return the cached content."""
    async with _locks[url]:
        kept, now = _cache.get(url), time.monotonic()
        if kept is not None:
            if now - kept.refetched < REFETCH_AFTER:
                return kept.content
            # Also if the fetch fails: anybody can name an unknown key.
            kept.refetched = now
        kept = _cache[url] = _CacheEntry(await fetch_json(url), now, now)
        return kept.content


async def provider_metadata(issuer: str, published_as: str | None = None, url: str | None = None) -> dict[str, Any]:
    """Return the metadata of an issuer.

    Args:
        url: the URL of the metadata, if it differs from OpenID Connect Discovery section 4.
        published_as: the expected ``issuer`` in the metadata, if it differs from ``issuer``.

    Raises:
        UpstreamUnavailableError: there is no valid metadata, or it names another issuer (section 4.3).
    """
    url = url or f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    found = await _cached(url)
    if found.get("issuer") != (published_as or issuer):
        _cache.pop(url, None)
        raise UpstreamUnavailableError(f"The metadata at {url} are those of another issuer.")
    # Optional endpoints may be absent. An invalid URL counts as absent.
    found = {name: value for name, value in found.items() if not name.endswith("_endpoint") or is_url(value)}
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
        if not is_url(found.get(name)):
            raise UpstreamUnavailableError(f"The metadata at {url} do not name the {name}.")
    return found


def is_url(value: object) -> bool:
    """Return whether a value is a valid HTTP URL. Whether it may be fetched is decided by :mod:`idp.infra.outbound`."""
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        return False
    try:
        parts = urlsplit(value)
        return parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


async def verify_jwt(token: str, jwks_uri: str, algorithms: tuple[str, ...]) -> jose.Claims:
    """Verify a JWT with the provider's keys and return its claims. For an unknown key the keys are fetched again.

    Raises:
        InvalidJWTError: the token is not valid.
        UpstreamUnavailableError: the keys cannot be fetched.
    """
    try:
        return jose.verify_foreign(token, _keys(await _cached(jwks_uri)), algorithms)
    except jose.NoMatchingKeyError:
        return jose.verify_foreign(token, _keys(await _refetched(jwks_uri)), algorithms)


def _keys(jwks: dict[str, Any]) -> list[dict[str, Any]]:
    keys = jwks.get("keys")
    return [key for key in keys if isinstance(key, dict)] if isinstance(keys, list) else []
