"""The registered redirect URI that is nearest to one that is not registered, for the operator."""

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlsplit

#: Registered URIs that are compared, and characters of the received one: anyone can send it.
MAX_URIS, MAX_LENGTH = 50, 500
#: Parts, by how much they tell about what was meant; and the default ports.
_PORTS: dict[str, int | str] = {"https": 443, "http": 80}
_WEIGHTS = {"host": 4, "path": 3, "scheme": 2, "port": 1, "query": 1}


class Nearest(NamedTuple):
    """The nearest registered URI; None if none is registered. ``differs_in`` names the parts that differ."""

    uri: str | None
    differs_in: tuple[str, ...]


def shown(uri: str) -> str:
    """Return a received URI without user, password, fragment and the values of its query, which may be secrets."""
    parts = _split(uri[:MAX_LENGTH])
    if parts is None:
        return "not a URI"
    names = "&".join(f"{name}=…" for name, _ in parse_qsl(parts.query, keep_blank_values=True))
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query=names, fragment="").geturl()


def nearest(received: str, registered: Sequence[str]) -> Nearest:
    """Return the registered URI that shares most with the received one."""
    asked = _split(received[:MAX_LENGTH])
    if asked is None:
        return Nearest(registered[0] if registered else None, ("it is not a URI",))
    found = [(_distance(asked, parts), uri, parts) for uri in registered[:MAX_URIS] if (parts := _split(uri))]
    if not found:
        return Nearest(None, ())
    _, uri, parts = min(found, key=lambda each: each[0])
    return Nearest(uri, tuple(_differences(asked, parts)) or ("characters",))


def in_facts(received: str, registered: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return labels and values about a URI that is not registered, for the developer of the client."""
    found = nearest(received, registered)
    known = [("Registered", uri) for uri in registered[:MAX_URIS]] or [("Registered", "none")]
    return (("Sent", shown(received)), *known, ("The nearest differs in", ", ".join(found.differs_in) or "everything"))


def _split(uri: str) -> SplitResult | None:
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        return None
    return parts


def _part(parts: SplitResult, name: str) -> str:
    match name:
        case "host":
            return parts.hostname or ""
        case "port":
            return str(parts.port or _PORTS.get(parts.scheme, ""))
    return str(getattr(parts, name))


def _distance(asked: SplitResult, known: SplitResult) -> tuple[int, int]:
    differing = sum(weight for name, weight in _WEIGHTS.items() if _part(asked, name) != _part(known, name))
    return differing, -_common(asked.geturl(), known.geturl())


def _common(one: str, other: str) -> int:
    """Return the length of the common beginning."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _differences(asked: SplitResult, known: SplitResult) -> list[str]:
    found = []
    if asked.scheme != known.scheme:
        found.append(f"scheme ({asked.scheme or 'none'}, registered {known.scheme})")
    if _part(asked, "host") != _part(known, "host"):
        found.append("host")
    elif (asked.netloc != known.netloc) and asked.netloc.lower() == known.netloc.lower():
        found.append("upper and lower case of the host")
    if asked.port != known.port:
        found.append(f"port ({asked.port or 'none'}, registered {known.port or 'none'})")
    if asked.path != known.path:
        found += _differences_of_paths(asked.path, known.path)
    if asked.query != known.query:
        found.append("query")
    if asked.fragment:
        found.append("fragment, which a redirect URI must not have")
    if "@" in asked.netloc:
        found.append("user or password")
    return found


def _differences_of_paths(asked: str, known: str) -> list[str]:
    bare, other = asked.rstrip("/"), known.rstrip("/")
    if bare.lower() != other.lower():
        return ["path"]
    case = ["upper and lower case of the path"] if bare != other else []
    return case + (["trailing slash"] if asked.endswith("/") != known.endswith("/") else [])
