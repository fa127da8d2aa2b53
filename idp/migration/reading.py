"""Reading JSON of other systems into structs, with errors that name the file and the part of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from idp.migration.models import ExportError

#: Maximum size of a file in bytes. It is read into memory.
MAX_BYTES: Final = 256 * 1024 * 1024

Read = TypeVar("Read")


def content(path: Path, advice: str) -> bytes:
    """Return the content of a file.

    Args:
        advice: what to do if it is too large.

    Raises:
        ExportError: it cannot be read, or is larger than :data:`MAX_BYTES`.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ExportError(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) > MAX_BYTES:
        raise ExportError(f"{path} is larger than {MAX_BYTES // 1024 // 1024} MiB. {advice}")
    return data


def members(data: bytes, name: str) -> dict[str, msgspec.Raw]:
    """Return the members of a JSON object, each to be read on its own."""
    return decoded(data, dict[str, msgspec.Raw], name)


def decoded(data: bytes | msgspec.Raw, type_: type[Read], name: str, at: str = "") -> Read:
    """Read JSON. A member that is null is as if it were not there.

    Args:
        name: of the file.
        at: the part of the file that the data is.

    Raises:
        ExportError: it is no JSON, or has another type.
    """
    try:
        if type_ in (dict[str, msgspec.Raw], list[msgspec.Raw]):
            return msgspec.json.decode(data, type=type_)
        return msgspec.convert(_without_nulls(msgspec.json.decode(data)), type_)
    except msgspec.ValidationError as error:
        words, _, path = str(error).partition(" - at `$")
        place = (at + path.rstrip("`")).lstrip(".") or "the whole"
        raise ExportError(f"{name}: {place}: {words.replace('`', '')}.") from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ExportError(f"{name} is no valid JSON: {error}.") from error


def each(data: msgspec.Raw, name: str, at: str) -> Iterator[tuple[str, msgspec.Raw]]:
    """Return the members of a JSON list, each with its place."""
    for number, one in enumerate(decoded(data, list[msgspec.Raw], name, at)):
        yield f"{at}[{number}]", one


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(one) for name, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value
