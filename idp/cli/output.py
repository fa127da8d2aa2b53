"""Output of commands: tables for people, JSON for programs."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import rich_click as click

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")

#: Width without a terminal: enough for ids and URIs.
PIPE_WIDTH = 180
#: Columns of reports.
WIDTH = 80


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their headings. Long values are wrapped, never truncated."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, highlight=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row))
    _print(table)


def print_details(values: Mapping[str, object]) -> None:
    """Print one name and value per line. Empty values are left out."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in values.items():
        if value not in (None, "", [], ()):
            table.add_row(name, _cell(value))
    _print(table)


def wrapped(text: str, indent: int = 10) -> str:
    """Break a text into lines of :data:`WIDTH`. URLs and names of settings stay whole, so that they can be copied."""
    import textwrap

    margin = " " * indent
    return textwrap.TextWrapper(WIDTH, margin, margin, break_long_words=False, break_on_hyphens=False).fill(text)


def _print(table: Any) -> None:
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False, markup=False).print(table)


def _cell(value: object) -> Any:
    from rich.text import Text

    return Text(text(value))


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
