"""`idp users export`: write users to a file."""

import csv
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import rich_click as click

from idp.cli.database import with_database
from idp.cli.progress import progress
from idp.cli.users_import import FORMATS, UnknownFormatError
from idp.errors import OperatorError


class NotWrittenError(OperatorError):
    """The file cannot be written."""


@click.command("export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--format", "format_", type=click.Choice(["csv", "jsonl"]), help="By default by the file's name.")
@with_database
async def export_command(file: Path, format_: str | None) -> None:
    """Write all users to FILE: CSV with a header line, or JSON lines. - is standard output.

    The file has claims and attributes, and no passwords and second factors. `idp users import` reads it.
    """
    import msgspec

    from idp.accounts.attributes.registry import attributes
    from idp.accounts.exports import as_columns, columns, export_users

    format_ = format_ or FORMATS.get(file.suffix.lower())
    if format_ is None:
        raise UnknownFormatError
    await attributes.load()
    number = 0
    with _opened(file) as output, progress("0 users", hidden=output.isatty()) as tell:
        table = _table(output, columns()) if format_ == "csv" else None
        async for page in export_users():
            if table is not None:
                table.writerows(map(as_columns, page))
            else:
                output.writelines(f"{msgspec.json.encode(user).decode()}\n" for user in page)
            number += len(page)
            tell(description=f"{number:,} users")
    click.echo(f"{number} users are written.", err=True)


def _table(output: TextIO, columns: Sequence[str]) -> "csv.DictWriter[str]":
    # An attribute that was declared meanwhile has no column.
    table = csv.DictWriter(output, columns, extrasaction="ignore")
    table.writeheader()
    return table


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Open a file that only its owner can read."""
    if str(path) == "-":
        yield sys.stdout
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise NotWrittenError(f"The file cannot be written: {error.strerror}.") from error
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as output:
        yield output
