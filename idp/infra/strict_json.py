"""Reads JSON of other parties. Repeated members are refused, because parsers disagree about which one counts."""

import json
from typing import Any

from idp.errors import ValidationError
from idp.infra.foreign_json import is_shallow

#: Deepest nesting. What is read becomes a part of what is stored, and a token names its actors one inside of the other.
MAX_DEPTH = 200


class RepeatedMemberError(ValidationError):
    """An object has two members of one name.

    Attributes:
        name: the name, as it was sent.
    """

    def __init__(self, name: str) -> None:
        super().__init__("a member is repeated")
        self.name = name


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict[str, Any]()
    for name, value in pairs:
        if name in members:
            raise RepeatedMemberError(name)
        members[name] = value
    return members


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique_members, parse_constant=_no_constant)


def decode_object(data: bytes) -> dict[str, Any]:
    """Decode a JSON object in UTF-8 without repeated members (RFC 8259).

    Raises:
        RepeatedMemberError: a member is repeated, also in an inner object.
        ValueError: it is not one.
    """
    try:
        value = _DECODER.decode(data.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    # Every verified token is read here, and hardly any has so many openings.
    if data.count(b"[") + data.count(b"{") >= MAX_DEPTH and not is_shallow(value, MAX_DEPTH):
        raise ValueError("it is nested too deeply")
    if not isinstance(value, dict):
        raise ValueError("it is not an object")  # noqa: TRY004 -- of the input, not of an argument
    return value
