"""Reads records, such as users, from CSV or JSON Lines files, one at a time.

A malformed record is returned as an exception in its place, and reading continues.
"""

import csv
import difflib
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import msgspec

from idp.errors import ValidationError

#: Maximum length of a line and of a field in bytes. It limits how much an unclosed quote consumes.
MAX_LINE_LENGTH = 64 * 1024
_BOM = b"\xef\xbb\xbf"


class InvalidFileError(ValidationError):
    """The file cannot be imported. The message is one sentence."""


class MalformedRecordError(ValidationError):
    """A record cannot be read. The message is one sentence."""


class Record(NamedTuple):
    """A record: its first line, and its values by name or the error."""

    line: int
    values: dict[str, Any] | MalformedRecordError


def read_json_lines(file: BinaryIO) -> Iterator[Record]:
    """Read JSON Lines: one object per line, in UTF-8. Empty lines are skipped."""
    for number, line in enumerate(_lines(file), 1):
        if line.strip():
            yield Record(number, _parse_json(line))


def read_csv(
    file: BinaryIO, columns: frozenset[str], *, required: frozenset[str] = frozenset({"email"})
) -> Iterator[Record]:
    """Read comma-separated values in UTF-8 (RFC 4180). The first line names the columns. Empty fields are omitted.

    Raises:
        InvalidFileError: the first line has an unknown or a repeated column, or lacks a required one.
    """
    csv.field_size_limit(MAX_LINE_LENGTH)
    # Invalid UTF-8 becomes lone surrogates, which the validation of the values rejects.
    reader = csv.reader((line.decode("utf-8", "surrogateescape") for line in _lines(file)), strict=True)
    names = _header(reader, columns, required)
    while True:
        begins = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error:
            yield Record(begins, MalformedRecordError(_csv_message(begins, reader.line_num)))
            continue
        if fields is None:
            return
        if fields:
            yield Record(begins, _by_column(names, fields))


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines without byte order mark. A line that is too long is cut and ends in NUL."""
    line = file.readline(MAX_LINE_LENGTH).removeprefix(_BOM)
    while line:
        if len(line) == MAX_LINE_LENGTH and not line.endswith(b"\n"):
            line += b"\0"
            while (rest := file.readline(MAX_LINE_LENGTH)) and not rest.endswith(b"\n"):
                pass
        yield line
        line = file.readline(MAX_LINE_LENGTH)


def _parse_json(line: bytes) -> dict[str, Any] | MalformedRecordError:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except UnicodeDecodeError:
        return MalformedRecordError("The line is not UTF-8.")
    except msgspec.ValidationError:
        return MalformedRecordError("The line is not a JSON object.")
    except msgspec.DecodeError:
        return MalformedRecordError("The line is not JSON, or too long." if b"\0" in line else "The line is not JSON.")
    except RecursionError:
        return MalformedRecordError("The line is nested too deeply.")


def _header(reader: Iterator[list[str]], columns: frozenset[str], required: frozenset[str]) -> list[str]:
    try:
        names = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise InvalidFileError("The first line is not comma-separated values.") from error
    for name in names:
        if name not in columns:
            near = difflib.get_close_matches(name, columns, n=1)
            printable = "".join(character if character.isprintable() else "�" for character in name[:60])
            raise InvalidFileError(f"There is no column “{printable}”." + (f" Did you mean {near[0]}?" if near else ""))
    if missing := sorted(required - set(names)):
        raise InvalidFileError(f"The first line does not name the columns, of which {missing[0]} is needed.")
    if len(set(names)) < len(names):
        raise InvalidFileError("The first line names a column twice.")
    return names


def _by_column(names: list[str], fields: list[str]) -> dict[str, Any] | MalformedRecordError:
    if len(fields) != len(names):
        return MalformedRecordError(f"There are {len(fields)} fields, but {len(names)} columns.")
    return {name: field for name, field in zip(names, fields, strict=True) if field}


def _csv_message(begins: int, ends: int) -> str:
    if ends > begins:
        return f"The fields cannot be read up to line {ends}: a quote is not closed, or followed by more."
    return "The fields cannot be read: a quote is not closed, or followed by more, or a field is too long."
