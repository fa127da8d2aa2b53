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
