"""Request parameters of the protocol endpoints."""

from collections.abc import Mapping

Parameters = Mapping[str, str]


def words(parameters: Parameters, name: str) -> tuple[str, ...]:
    """Return the words of a space-separated parameter, each once, in order."""
    return tuple(dict.fromkeys(parameters.get(name, "").split()))
