"""Output of commands: tables for people, tab-separated lines for pipes, JSON for programs."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import rich_click as click

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")

#: Columns of reports, and of a terminal of unknown width.
WIDTH = 80


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their headings. A value is never truncated, nor broken within a word.

    On a terminal that is too narrow, each row is a record of a name and a value per line. Elsewhere the values are
    separated by tabs.
    """
    from idp.cli import layout

    cells = [[_lines(value) for value in row] for row in rows]
    if not sys.stdout.isatty():
        _echo("\t".join(columns), *("\t".join(map(", ".join, row)) for row in cells))
    else:
        _echo(*layout.table(columns, cells, _width()))


def print_details(values: Mapping[str, object]) -> None:
    """Print one name and value per line. Empty values are left out."""
    from idp.cli import layout

    given = {name: _lines(value) for name, value in values.items() if value not in (None, "", [], ())}
    if not sys.stdout.isatty():
        _echo(*(f"{name}\t{', '.join(lines)}" for name, lines in given.items()))
    else:
        _echo(*layout.record(given.items(), _width()))


def print_secret(shown: Mapping[str, str], as_json: bool) -> None:
    """Print what was created with its secret."""
    if as_json:
        print_json(shown)
        return
    print_details(shown)
    click.echo("The secret is shown only now. It cannot be shown again.", err=True)


def wrapped(text: str, indent: int = 10) -> str:
    """Break a text into lines of :data:`WIDTH`. URLs and names of settings stay whole, so that they can be copied."""
    import textwrap

    margin = " " * indent
    return textwrap.TextWrapper(WIDTH, margin, margin, break_long_words=False, break_on_hyphens=False).fill(text)


def _width() -> int:
    import shutil

    return shutil.get_terminal_size((WIDTH, 24)).columns


def _echo(*lines: str) -> None:
    for line in lines:
        click.echo(line)


def _lines(value: object) -> list[str]:
    """Return the lines of a cell: one for each value of a list."""
    return [text(each) for each in value] if isinstance(value, list | tuple | set | frozenset) else [text(value)]


def text(value: object) -> str:
    """Format a value as text. Unprintable characters are replaced: a name must not send control sequences."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, list | tuple | set | frozenset):
        return "\n".join(map(text, value))
    if isinstance(value, dict):
        import msgspec

        value = msgspec.json.encode(value).decode()
    return "".join(character if character.isprintable() else "�" for character in str(value))
