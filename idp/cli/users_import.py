"""`idp users import`: import users from a file."""

import csv
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import rich_click as click
from click.exceptions import Exit

from idp.cli.database import with_database
from idp.cli.output import json_option, print_json, text
from idp.errors import OperatorError

if TYPE_CHECKING:
    from idp.accounts.imports import RejectedRecord

FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
#: Maximum number of refused lines to print.
SHOWN = 20


class UnknownFormatError(OperatorError):
    """The format cannot be derived from the name of the file."""

    def __init__(self) -> None:
        super().__init__("The format cannot be derived from the name of the file: use --format csv or --format jsonl.")


class ReportNotWrittenError(OperatorError):
    """The report file cannot be written."""


@click.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--format", "format_", type=click.Choice(["csv", "jsonl"]), help="By default by the file's name.")
@click.option("--dry-run", is_flag=True, help="Check every line without importing.")
@click.option(
    "--report", type=click.Path(path_type=Path, dir_okay=False), help="Write every refused line to this file."
)
@json_option
@with_database
async def import_command(
    file: BinaryIO, format_: str | None, dry_run: bool, report: Path | None, as_json: bool
) -> None:
    """Import users from FILE: CSV with a header line, or JSON lines.

    Columns are the standard claims of OpenID Connect, password_hash, totp_secret, identities and disabled; email is
    required. Existing users are left unchanged, so an interrupted import can be repeated with the same file. Exits
    with 1 if a line was refused.
    """
    from idp.accounts.import_files import read_csv, read_json_lines
    from idp.accounts.imports import COLUMNS, import_users
    from idp.federation.repository import emails_of_identities
    from idp.signin.factors.imports import store

    format_ = format_ or FORMATS.get(Path(file.name).suffix.lower())
    if format_ is None:
        raise UnknownFormatError
    records = read_csv(file, COLUMNS) if format_ == "csv" else read_json_lines(file)
    counts = {"imported": 0, "existing": 0, "refused": 0}
    shown: list[RejectedRecord] = []
    with _report(report, file) as write, _progress(file) as progress:
        async for batch in import_users(records, store, emails_of_identities, dry_run=dry_run):
            write(batch.refused)
            shown += batch.refused[: SHOWN - len(shown)]
            counts["imported"] += batch.imported
            counts["existing"] += batch.existing
            counts["refused"] += len(batch.refused)
            progress(sum(counts.values()))
    for refusal in shown:
        click.echo(text(f"Line {refusal.line}: {refusal.email or 'no address'}: {refusal.reason}"), err=True)
    if counts["refused"] > len(shown):
        click.echo(
            f"{counts['refused'] - len(shown)} more lines were refused; --report FILE writes all of them.", err=True
        )
    if as_json:
        print_json(counts | {"dry_run": dry_run})
    else:
        done = "could be imported" if dry_run else "imported"
        click.echo(f"{counts['imported']} {done}, {counts['existing']} existing, {counts['refused']} refused.")
    if counts["refused"]:
        raise Exit(1)


@contextmanager
def _report(path: Path | None, file: BinaryIO) -> "Iterator[Callable[[list[RejectedRecord]], None]]":
    """Writes refused lines as JSON lines, or as CSV for a name that ends in .csv. Only the owner can read the file."""
    if path is None:
        yield lambda refused: None
        return
    try:
        if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
            raise ReportNotWrittenError("The report would overwrite the file that is imported.")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise ReportNotWrittenError(f"The report cannot be written: {error.strerror}.") from error
    # Bytes that were not UTF-8 are written as escapes.
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace", newline="") as report:
        if path.suffix.lower() == ".csv":
            table = csv.writer(report)
            table.writerow(("line", "email", "reason"))
            yield table.writerows
        else:
            yield lambda refused: report.writelines(f"{json.dumps(refusal._asdict())}\n" for refusal in refused)


@contextmanager
def _progress(file: BinaryIO) -> "Iterator[Callable[[int], None]]":
    """Shows the progress on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    size = os.fstat(file.fileno()).st_size if file.seekable() else None
    columns = (TextColumn("{task.fields[read]:,} lines"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=size, read=0)
        yield lambda read: bar.update(task, completed=file.tell() if size is not None else 0, read=read)
