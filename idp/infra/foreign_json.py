"""Decodes JSON of other parties: responses of other servers, and bodies of requests."""

from typing import Any, TypeVar, overload

import msgspec

_T = TypeVar("_T")


@overload
def decode(data: bytes | str) -> Any: ...
@overload
def decode(data: bytes | str, type: type[_T]) -> _T: ...
def decode(data: bytes | str, type: Any = Any) -> Any:
    """Decode a value and convert it to a type.

    Raises:
        ValueError: it is not JSON in UTF-8, not of this type, or nested too deeply.
    """
    try:
        return msgspec.json.decode(data, type=type)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(str(error)) from error


def is_shallow(value: object, depth: int) -> bool:
    """Return whether a decoded value has at most so many levels of lists and objects inside of it.

    A value near the limit of the recursion can be decoded, and not encoded as a part of another one.
    """
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return depth >= 0 and all(is_shallow(one, depth - 1) for one in inner)
