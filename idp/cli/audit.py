"""`idp audit`: the audit trail."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import rich_click as click

from idp.cli.database import with_database
from idp.cli.named_user import address_book, find_user_id
from idp.cli.output import json_option, print_json, print_table
from idp.cli.progress import progress
from idp.errors import OperatorError

TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])


#: Events between two updates of the progress.
_TOLD = 1000


class NotAuditedError(OperatorError):
    """The named file cannot be read or written."""


@click.group()
def audit() -> None:
    """List, export and verify the audit trail."""


def _filters(command: Any) -> Any:
    for option in (
        click.option("--token-client", "token_client_id", help="Only tokens issued to this client."),
        click.option("--token-user", "token_user_id", metavar="USER", help="Only tokens issued to this user."),
        click.option("--jti", help="Only the issue of this access token."),
        click.option("--request", "request_id", help="Only events of this request."),
        click.option("--ip", "ip_address", help="Only events from this address."),
        click.option("--session", "session_id", type=click.UUID, help="Only events of this session."),
        click.option("--client", "client_id", help="Only events of this client."),
        click.option("--user", "user_id", metavar="USER", help="Only events of this user: an email address or an id."),
        click.option("--actor", help="Only events of this actor, such as user:ADDRESS, client:ID or cli:NAME."),
        click.option(
            "--outcome", type=click.Choice(["success", "failure", "denied"]), help="Only events with this outcome."
        ),
        click.option("--event", help="Only events of this kind, such as sign_in."),
        click.option("--until", type=TIME, help="Only events before this time (UTC)."),
        click.option("--since", type=TIME, help="Only events from this time (UTC)."),
    ):
        command = option(command)
    return command


def _times(since: datetime | None, until: datetime | None) -> dict[str, datetime]:
    from datetime import UTC

    given = {"since": since, "until": until}
    return {name: time.replace(tzinfo=UTC) for name, time in given.items() if time is not None}


async def _given(filters: dict[str, Any]) -> dict[str, str]:
    """Return the filters that are given. A user, who may be deleted, is an email address or an id."""
    from idp.events.kinds import KINDS, OTHERS

    given = {name: str(value) for name, value in filters.items() if value is not None}
    if given.get("event", "sign_in") not in (*KINDS, *OTHERS):
        raise click.BadParameter("there is no such kind of event. docs/audit.md lists them.", param_hint="--event")
    for name in {"user_id", "token_user_id"} & given.keys():
        given[name] = str(await find_user_id(given[name]))
    if given.get("actor", "").startswith("user:"):
        given["actor"] = f"user:{await find_user_id(given['actor'].removeprefix('user:'))}"
    return given


@audit.command("list")
@_filters
@click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1, 10_000), help="Maximum number of events."
)
@json_option
@with_database
async def list_events(
    since: datetime | None, until: datetime | None, limit: int, as_json: bool, **filters: Any
) -> None:
    """List the most recent events, newest first."""
    from idp.audit import trail
    from idp.audit.repository import audit_events

    events = await audit_events.latest_events(await _given(filters), limit=limit, **_times(since, until))
    if as_json:
        print_json([trail.as_dict(event) for event in events])
        return
    named = await address_book(each for event in events for each in (event.actor, event.user_id))
    print_table(
        ("Time", "Event", "Outcome", "Actor", "User", "Client", "From", "Detail"),
        [
            (event.at, event.event, event.outcome, named(event.actor), named(event.user_id), event.client_id,
             event.ip_address, event.detail if event.detail != "{}" else "")
            for event in events
        ],
    )  # fmt: skip


@audit.command()
@_filters
@click.option("--format", "kind", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this new file.")
@with_database
async def export(
    since: datetime | None, until: datetime | None, kind: str, output: Path | None, **filters: Any
) -> None:
    """Export events, oldest first. The export itself is recorded in the trail."""
    from contextlib import ExitStack

    from idp.audit import trail
    from idp.audit.events import record
    from idp.audit.repository import audit_events

    number, given = 0, await _given(filters)
    with ExitStack() as stack:
        if output is None:
            file: Any = sys.stdout
        else:
            try:
                file = stack.enter_context(output.open("x", encoding="utf-8", newline=""))
            except OSError as error:
                raise NotAuditedError(f"{output} cannot be written: {error.strerror}.") from error
        if kind == "csv":
            file.write(trail.csv_header())
        line = trail.csv_line if kind == "csv" else trail.jsonl
        tell = stack.enter_context(progress("0 events", hidden=file.isatty()))
        async for event in audit_events.events(given, **_times(since, until)):
            file.write(line(event))
            number += 1
            if number % _TOLD == 0:
                tell(description=f"{number:,} events")
    await record("audit_exported", detail={"number": number, "format": kind, **given})
    click.echo(f"{number} events.", err=True)


@audit.command()
@click.option(
    "--checkpoints", "path", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of checkpoints that was kept outside the database.",
)  # fmt: skip
@json_option
@with_database
async def verify(path: Path | None, as_json: bool) -> None:
    """Verify that the trail is unchanged. Exits with 1 and lists the problems if it is not."""
    from idp.audit import verification
    from idp.keys import checkpoint_signer

    read = await checkpoint_signer.reader()
    outside = {}
    if path is not None:
        try:
            with path.open(encoding="ascii", errors="replace") as lines:
                outside = verification.read_file(lines, read)
        except (OSError, ValueError) as error:
            raise NotAuditedError(f"{path} cannot be used: {getattr(error, 'strerror', None) or error}") from error
    with progress("Verifying the audit trail"):
        report = await verification.verify(read, outside)
    if as_json:
        print_json(report)
    else:
        _tell(report, len(outside))
    if not report.intact:
        sys.exit(1)


def _tell(report: Any, outside: int) -> None:
    """Print a report."""
    click.echo(f"{report.rows} rows in {report.checkpoints} checkpoints, and {report.waiting} rows that wait for one.")
    if report.last_at is not None:
        click.echo(f"The last checkpoint was made at {report.last_at:%Y-%m-%d %H:%M:%S} UTC.")
    if report.deleted_to:
        click.echo(f"Rows 1 to {report.deleted_to} were deleted by age (IDP_AUDIT_RETENTION).")
    if not outside:
        click.echo("To detect whether the end was cut off, compare with checkpoints kept outside: --checkpoints FILE.")
    if report.intact:
        click.echo("The trail is unchanged.")
        return
    print_table(
        ("What", "Checkpoint", "Row", "Id", "Time", "Changed", "Was row"),
        [
            (p.sentence, _range(p.checkpoint, p.last_checkpoint), _range(p.seq, p.last_seq), p.id, p.at,
             ", ".join(p.columns), p.was_seq)
            for p in report.problems
        ],
    )  # fmt: skip
    click.echo(f"The trail has been CHANGED: {report.number_of_problems} problems.")


def _range(first: int | None, last: int | None) -> str:
    return "" if first is None else str(first) if last in (None, first) else f"{first} to {last}"
