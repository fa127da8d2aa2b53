"""`idp users import`: import users from a file."""

from pathlib import Path
from typing import BinaryIO

import rich_click as click
from click.exceptions import Exit

from idp.cli.database import with_database
from idp.cli.import_report import SHOWN, print_refused, report_option, showing_progress, writing_report
from idp.cli.output import json_option, print_json
from idp.errors import OperatorError

FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


class UnknownFormatError(OperatorError):
    """The format cannot be derived from the name of the file."""

    def __init__(self) -> None:
        super().__init__("The format cannot be derived from the name of the file: use --format csv or --format jsonl.")


@click.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--format", "format_", type=click.Choice(["csv", "jsonl"]), help="By default by the file's name.")
@click.option("--dry-run", is_flag=True, help="Check every line without importing.")
@report_option
@json_option
@with_database
async def import_command(
    file: BinaryIO, format_: str | None, dry_run: bool, report: Path | None, as_json: bool
) -> None:
    """Import users from FILE: CSV with a header line, or JSON lines.

    Columns are the standard claims of OpenID Connect, password_hash, totp_secret, identities, disabled and declared
    attributes, such as attributes.department; email is required. Existing users are left unchanged, so an interrupted
    import can be repeated with the same file. Exits with 1 if a line was refused.
    """
    from idp.accounts.attributes import records as attribute_records
    from idp.accounts.attributes.registry import attributes
    from idp.accounts.import_files import read_csv, read_json_lines
    from idp.accounts.imports import COLUMNS, RejectedRecord, import_users
    from idp.federation.repository import emails_of_identities
    from idp.signin.factors.imports import release, store

    format_ = format_ or FORMATS.get(Path(file.name).suffix.lower())
    if format_ is None:
        raise UnknownFormatError
    await attributes.load()
    columns = COLUMNS | attribute_records.columns()
    records = read_csv(file, columns) if format_ == "csv" else read_json_lines(file)
    counts = {"imported": 0, "existing": 0, "refused": 0}
    shown: list[RejectedRecord] = []
    with writing_report(report, file, RejectedRecord._fields) as write, showing_progress(file) as progress:
        async for batch in import_users(records, store, emails_of_identities, release, dry_run=dry_run):
            write(batch.refused)
            shown += batch.refused[: SHOWN - len(shown)]
            counts["imported"] += batch.imported
            counts["existing"] += batch.existing
            counts["refused"] += len(batch.refused)
            progress(sum(counts.values()))
    print_refused([(each.line, each.email or "no address", each.reason) for each in shown], counts["refused"])
    if as_json:
        print_json(counts | {"dry_run": dry_run})
    else:
        done = "could be imported" if dry_run else "imported"
        click.echo(f"{counts['imported']} {done}, {counts['existing']} existing, {counts['refused']} refused.")
    if counts["refused"]:
        raise Exit(1)
