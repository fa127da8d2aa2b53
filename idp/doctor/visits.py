"""Visits at the issuer's URL, from outside in: through the reverse proxies, as clients come."""

import secrets
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from idp.doctor import seals
from idp.doctor.probe_models import PATH, TOKEN, Arrival
from idp.infra import foreign_json, outbound
from idp.infra.outbound import Observation
from idp.settings import Settings

#: Seconds for one visit.
SECONDS = 5.0


class Visit(msgspec.Struct, frozen=True):
    """A visit at the probe. ``arrival`` is None if no server with our master key answered it."""

    seen: Observation
    arrival: Arrival | None

    @property
    def direct(self) -> bool:
        """Whether no proxy is between: the server sees our end of the connection."""
        return self.arrival is not None and self.seen.local == self.arrival.peer


async def look(settings: Settings, url: str, headers: Mapping[str, str] | None = None) -> Observation:
    """GET a URL of our own server, at any address.

    Raises:
        CallFailed: there was no whole response in time.
    """
    return await outbound.observe("GET", url, headers or {}, b"", own=origins(settings), timeout_seconds=SECONDS)


async def visit(
    settings: Settings,
    *,
    base: str | None = None,
    query: str = "",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> Visit:
    """Ask the server how a request arrives.

    Args:
        base: another URL than the issuer.

    Raises:
        CallFailed: there was no whole response in time.
        SecretsError: there is no master key.
    """
    nonce = secrets.token_urlsafe(24)
    url = f"{base or settings.issuer}{PATH}{query and f'?{query}'}"
    sent = {TOKEN: seals.make(nonce)} | dict(headers or {})
    seen = await outbound.observe(
        "POST" if body else "GET", url, sent, body, own=origins(settings), timeout_seconds=SECONDS
    )
    try:
        arrival = foreign_json.decode(seen.body, Arrival)
    except ValueError:
        return Visit(seen, None)
    genuine = arrival.nonce == nonce and secrets.compare_digest(arrival.proof, seals.proof(nonce))
    return Visit(seen, arrival if genuine else None)


def origins(settings: Settings) -> tuple[str, ...]:
    """Return the origins of our own server, which may have private addresses."""
    return tuple(_origin(url) for url in (settings.issuer, settings.mtls_url) if url)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
