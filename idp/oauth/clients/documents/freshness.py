"""How long a document may be cached, by its headers and within the bounds of the settings (RFC 9111 section 4.2)."""

from collections.abc import Mapping

from idp import clock
from idp.infra import http_date
from idp.settings import HOUR, settings

#: Lifetime in seconds of a document whose headers name none.
DEFAULT_LIFETIME = HOUR
#: RFC 9111 section 1.2.2: an age that is too large is read as this.
_LONGEST = 2**31


def lifetime(headers: Mapping[str, str]) -> float:
    """Return the seconds from now for which a document is current.

    Args:
        headers: of the response, with names in lower case.
    """
    config = settings()
    bounded = max(_named_lifetime(headers), config.client_id_metadata_min_lifetime)
    return min(bounded, config.client_id_metadata_max_lifetime)


def _named_lifetime(headers: Mapping[str, str]) -> float:
    """Return what the headers say. We are a shared cache: one document serves all users."""
    directives = _directives(headers.get("cache-control", ""))
    if directives.keys() & {"no-store", "no-cache", "private"}:
        return 0
    for name in ("s-maxage", "max-age"):
        if name in directives:
            return _seconds(directives[name]) - _seconds(headers.get("age", "0"))
    if "expires" in headers:
        expires = http_date.parse(headers["expires"])
        return (expires - (http_date.parse(headers.get("date", "")) or clock.now())).total_seconds() if expires else 0
    return DEFAULT_LIFETIME


def _directives(value: str) -> dict[str, str]:
    """Return the directives of Cache-Control. Of a directive that is repeated, the first one counts."""
    found: dict[str, str] = {}
    for part in value.split(","):
        name, _, argument = part.strip().partition("=")
        found.setdefault(name.strip().lower(), argument.strip().strip('"'))
    return found


def _seconds(text: str) -> int:
    """Return a number of seconds. An invalid one counts as 0: the document is stale at once."""
    return min(int(text[:12]), _LONGEST) if text.isascii() and text.isdigit() else 0
