"""What OpenID providers publish: their metadata and keys, kept for a while (OpenID Connect Discovery section 4)."""

import time
from typing import Any
from urllib.parse import urlsplit

import msgspec

from idp.federation.errors import UpstreamUnavailableError
from idp.infra import outbound
from idp.keys import jose

SECONDS = 5.0
MAX_BYTES = 256 * 1024
#: How long an answer is used.
LIFETIME = 3600.0
#: Keys are not fetched more often than that, however many tokens name unknown ones.
REFETCH_AFTER = 30.0


class _CacheEntry(msgspec.Struct):
    content: dict[str, Any]
    fetched: float
    #: Since an unknown key made us ask again.
    refetched: float = -REFETCH_AFTER


_cache: dict[str, _CacheEntry] = {}


async def fetch_json(url: str) -> dict[str, Any]:
    """A JSON object from a provider.

    Raises:
        UpstreamUnavailableError: there is no answer, or another one.
    """
    try:
        body = await outbound.get(url, {"Accept": "application/json"}, timeout_seconds=SECONDS, max_bytes=MAX_BYTES)
        return msgspec.json.decode(body, type=dict[str, Any])
    except (outbound.CallFailed, msgspec.DecodeError, UnicodeError) as error:
        raise UpstreamUnavailableError(f"{url} does not answer as it should.") from error


async def _cached(url: str) -> dict[str, Any]:
    kept, now = _cache.get(url), time.monotonic()
    if kept is None or now - kept.fetched > LIFETIME:
        kept = _cache[url] = _CacheEntry(await fetch_json(url), now)
    return kept.content


async def _refetched(url: str) -> dict[str, Any]:
    """As :func:`_cached`, but asked for anew where that was not just done for the same reason."""
    kept, now = _cache.get(url), time.monotonic()
    if kept is not None and now - kept.refetched < REFETCH_AFTER:
        return kept.content
    kept = _cache[url] = _CacheEntry(await fetch_json(url), now, now)
    return kept.content


async def provider_metadata(issuer: str, published_as: str | None = None, url: str | None = None) -> dict[str, Any]:
    """The metadata of an issuer.

    Args:
        url: where they are, if not where OpenID Connect Discovery section 4 says.
        published_as: what the metadata calls the issuer, where that is not its own name.

    Raises:
        UpstreamUnavailableError: it publishes none, or that of somebody else (section 4.3).
    """
    url = url or f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    found = await _cached(url)
    if found.get("issuer") != (published_as or issuer):
        _cache.pop(url, None)
        raise UpstreamUnavailableError(f"The metadata at {url} are those of another issuer.")
    # Those that are not needed for every sign-in may be missing; none may be nonsense.
    found = {name: value for name, value in found.items() if not name.endswith("_endpoint") or is_url(value)}
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
        if not is_url(found.get(name)):
            raise UpstreamUnavailableError(f"The metadata at {url} do not name the {name}.")
    return found


def is_url(value: object) -> bool:
    """Whether a browser or a client can be sent there; whether it may is decided when it is."""
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        return False
    try:
        parts = urlsplit(value)
        return parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


async def verify_jwt(token: str, jwks_uri: str, algorithms: tuple[str, ...]) -> jose.Claims:
    """The claims of a token that one of the provider's keys signed. An unknown key makes us ask for its keys again.

    Raises:
        InvalidJWTError: it is not right.
        UpstreamUnavailableError: the keys cannot be had.
    """
    try:
        return jose.verify_foreign(token, _keys(await _cached(jwks_uri)), algorithms)
    except jose.UnknownKeyError:
        return jose.verify_foreign(token, _keys(await _refetched(jwks_uri)), algorithms)


def _keys(jwks: dict[str, Any]) -> list[dict[str, Any]]:
    keys = jwks.get("keys")
    return [key for key in keys if isinstance(key, dict)] if isinstance(keys, list) else []


def clear_cache() -> None:
    """Ask everybody anew."""
    _cache.clear()
