"""Headers as ASGI has them: pairs of bytes, names in lower case. Every request passes here, so nothing wraps them."""

from collections.abc import Iterable, Mapping

from litestar.types import Message, Scope

Pairs = tuple[tuple[bytes, bytes], ...]


def encode(headers: Mapping[str, str]) -> Pairs:
    """Headers as they are sent."""
    return tuple((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items())


def request_header(scope: Scope, name: bytes) -> str | None:
    """The first header of a request by this name, given in lower case."""
    for header, value in scope["headers"]:
        if header == name:
            return value.decode("latin-1")
    return None


def drop_type_of_nothing(message: Message) -> None:
    """Remove the Content-Type of a response without a body.

    It describes a body (RFC 9110 section 8.3). A library that reads it before the body fails on one that it cannot
    parse, though there is nothing to parse.
    """
    own = message["headers"]  # type: ignore[typeddict-item]
    if (b"content-length", b"0") in own:
        message["headers"] = [pair for pair in own if pair[0] != b"content-type"]  # type: ignore[typeddict-unknown-key]


def add(message: Message, pairs: Iterable[tuple[bytes, bytes]]) -> None:
    """Add those headers to the start of a response that it does not have."""
    own = message["headers"]  # type: ignore[typeddict-item]
    names = {name for name, _ in own}
    message["headers"] = [*own, *(pair for pair in pairs if pair[0] not in names)]  # type: ignore[typeddict-unknown-key]
