"""What the imports of files share: the report of refused lines, and the progress."""

import csv
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import rich_click as click

from idp.cli.output import text
from idp.cli.progress import progress
from idp.errors import OperatorError

#: Maximum number of refused lines to print.
SHOWN = 20

report_option = click.option(
    "--report", type=click.Path(path_type=Path, dir_okay=False), help="Write every refused line to this file."
)


class ReportNotWrittenError(OperatorError):
    """The report file cannot be written."""


@contextmanager
def writing_report(
    path: Path | None, file: BinaryIO | None, columns: Sequence[str]
) -> Iterator[Callable[[Sequence[Any]], None]]:
    """Writes refused lines as JSON lines, or as CSV for a name that ends in .csv. Only the owner can read the file.

    Args:
        file: the file that is imported, if there is one.
        columns: the names of the values of a refused line, which is a named tuple.
    """
    if path is None:
        yield lambda refused: None
        return
    try:
        if file is not None and path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
            raise ReportNotWrittenError("The report would overwrite the file that is imported.")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise ReportNotWrittenError(f"The report cannot be written: {error.strerror}.") from error
    # Bytes that were not UTF-8 are written as escapes.
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace", newline="") as report:
        if path.suffix.lower() == ".csv":
            table = csv.writer(report)
            table.writerow(columns)
            yield table.writerows
        else:
            yield lambda refused: report.writelines(f"{json.dumps(refusal._asdict())}\n" for refusal in refused)


@contextmanager
def showing_progress(file: BinaryIO) -> Iterator[Callable[[int], None]]:
    """Shows how much of a file is read."""
    size = os.fstat(file.fileno()).st_size if file.seekable() else None
    with progress("0 lines", size) as tell:
        yield lambda read: tell(file.tell() if size is not None else None, description=f"{read:,} lines")


def print_refused(lines: Sequence[tuple[int, str, str]], number: int) -> None:
    """Print refused lines: their number, whom or what they name, and the reason.

    Args:
        lines: the first ones.
        number: how many were refused.
    """
    for line, what, reason in lines:
        click.echo(text(f"Line {line}: {what}: {reason}"), err=True)
    if number > len(lines):
        click.echo(f"{number - len(lines)} more lines were refused; --report FILE writes all of them.", err=True)
