"""Reads JSON from others as one program would and no two programs could differ about: no repeated members."""

import json
from typing import Any


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is repeated")
    return members


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique_members, parse_constant=_no_constant)


def decode_object(data: bytes) -> dict[str, Any]:
    """Decode a JSON object in UTF-8 without repeated members (RFC 8259).

    Raises:
        ValueError: it is not one.
    """
    try:
        value = _DECODER.decode(data.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("it is not an object")  # noqa: TRY004 -- of the input, not of an argument
    return value
