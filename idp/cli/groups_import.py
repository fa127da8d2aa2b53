"""`idp groups import`: add users to groups by a file."""

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import rich_click as click
from click.exceptions import Exit

from idp.cli.database import with_database
from idp.cli.import_report import SHOWN, print_refused, report_option, showing_progress, writing_report
from idp.cli.output import json_option, print_json

if TYPE_CHECKING:
    pass


@click.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--create-groups", is_flag=True, help="Create groups that do not exist, in no other one.")
@click.option("--dry-run", is_flag=True, help="Check every line without importing.")
@report_option
@json_option
@with_database
async def import_command(
    *, file: BinaryIO, create_groups: bool, dry_run: bool, report: Path | None, as_json: bool
) -> None:
    """Add users to groups by FILE: CSV with the columns user and group.

    The user is an email address or an id, the group a name. Who is in a group stays in it, so an interrupted import can
    be repeated with the same file. Exits with 1 if a line was refused.
    """
    from idp.accounts.import_files import read_csv
    from idp.directory.imports import COLUMNS, RejectedMembership, import_members

    records = read_csv(file, COLUMNS, required=COLUMNS)
    counts = {"added": 0, "existing": 0, "created_groups": 0, "refused": 0}
    shown: list[RejectedMembership] = []
    with writing_report(report, file, RejectedMembership._fields) as write, showing_progress(file) as progress:
        async for batch in import_members(records, create_groups=create_groups, dry_run=dry_run):
            write(batch.refused)
            shown += batch.refused[: SHOWN - len(shown)]
            counts["added"] += batch.added
            counts["existing"] += batch.existing
            counts["created_groups"] += batch.created_groups
            counts["refused"] += len(batch.refused)
            progress(counts["added"] + counts["existing"] + counts["refused"])
    print_refused(
        [(each.line, f"{each.user or '-'} in {each.group or '-'}", each.reason) for each in shown], counts["refused"]
    )
    if as_json:
        print_json(counts | {"dry_run": dry_run})
    else:
        done, created = ("could be added", "would be created") if dry_run else ("added", "created")
        click.echo(
            f"{counts['added']} {done}, {counts['existing']} existing, {counts['refused']} refused;"
            f" {counts['created_groups']} groups {created}."
        )
    if counts["refused"]:
        raise Exit(1)
