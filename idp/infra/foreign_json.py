"""Decodes JSON of other parties: responses of other servers, and bodies of requests."""

from typing import Any, TypeVar, overload

import msgspec

#: Deepest nesting that :func:`decode` accepts. A value near the limit of the recursion can be decoded, and not encoded
#: or stored as a part of another one.
MAX_DEPTH = 100

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
        value = msgspec.json.decode(data)
        if is_shallow(value, MAX_DEPTH):
            return msgspec.convert(value, type)
    except RecursionError:
        pass
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error
    raise ValueError("it is nested too deeply")


def is_shallow(value: object, depth: int) -> bool:
    """Return whether a decoded value has at most so many levels of lists and objects inside of it."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return depth >= 0 and all(is_shallow(one, depth - 1) for one in inner)
