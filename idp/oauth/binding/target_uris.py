"""Comparing the ``htu`` of a proof with the URL of a request (RFC 9449 section 4.3)."""

import re
from functools import lru_cache

#: Longest ``htu`` that is read.
MAX_LENGTH = 2048
#: An absolute http(s) URL (RFC 3986 section 3) without user information. Group 4 ends before query and fragment.
_URL = re.compile(
    r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{0,5}))?"
    r"((?:/(?:[a-z0-9._~!$&'()*+,;=:@/-]|%[0-9a-f]{2})*)?)(?:[?#].*)?",
    re.IGNORECASE | re.ASCII,
)
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_DEFAULT_PORT = {"http": 80, "https": 443}


def _unescape(escape: re.Match[str]) -> str:
    """RFC 3986 sections 6.2.2.1 and 6.2.2.2: decode unreserved characters only; the digits are in upper case."""
    character = chr(int(escape[1], 16))
    return character if character in _UNRESERVED else escape[0].upper()


def _without_dot_segments(path: str) -> str:
    """RFC 3986 section 5.2.4."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            kept = kept[:-1]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


@lru_cache(maxsize=1024)
def normalized(url: str) -> str | None:
    """Return a URL without query and fragment, by the rules of RFC 3986 sections 6.2.2 and 6.2.3.

    Returns None for anything else than an http or https URL.
    """
    found = _URL.fullmatch(url) if len(url) <= MAX_LENGTH else None
    if found is None:
        return None
    scheme, host = found[1].lower(), found[2].lower()
    port = int(found[3]) if found[3] else _DEFAULT_PORT[scheme]
    path = _without_dot_segments(_ESCAPE.sub(_unescape, found[4]) or "/")
    return f"{scheme}://{host}{'' if port == _DEFAULT_PORT[scheme] else f':{port}'}{path}"


def same(htu: str, url: str) -> bool:
    """Return whether a proof names this URL. Scheme, host, port and path are compared, nothing else."""
    return htu == url or ((normal := normalized(htu)) is not None and normal == normalized(url))
