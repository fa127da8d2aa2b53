"""Headers in the form of ASGI: pairs of bytes, with names in lower case. Plain functions, because every request calls
them.
"""

from collections.abc import Iterable, Mapping

from litestar.types import Scope

Pairs = tuple[tuple[bytes, bytes], ...]


def encode(headers: Mapping[str, str]) -> Pairs:
    """Encode headers for sending."""
    return tuple((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items())


def request_header(scope: Scope, name: bytes) -> str | None:
    """Return the first header of a request with this name, given in lower case."""
    for header, value in scope["headers"]:
        if header == name:
            return value.decode("latin-1")
    return None


def request_headers(scope: Scope, name: bytes) -> list[str]:
    """Return all headers of a request with this name, given in lower case."""
    return [value.decode("latin-1") for header, value in scope["headers"] if header == name]


def complete(own: Iterable[tuple[bytes, bytes]], pairs: Pairs) -> list[tuple[bytes, bytes]]:
    """Return a response's own headers, and the pairs whose names are not among them."""
    names = dict(own)
    return [*own, *[pair for pair in pairs if pair[0] not in names]]
