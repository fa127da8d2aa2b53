"""`idp db rehearse`: try an upgrade on a copy of the database."""

import asyncio
import os
import re
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from idp.cli.output import json_option, print_json, text, wrapped
from idp.cli.progress import progress

if TYPE_CHECKING:
    from idp.rehearsal.models import Flow, MeasuredMigration, Report, Statement
    from idp.rehearsal.rehearsal import Plan

#: Exit codes: go, no-go, no verdict.
GO, NO_GO, UNKNOWN = 0, 1, 2
_UNITS = {"": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


class _Size(click.ParamType[int]):
    """A size such as 500MB, converted to bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d{1,9}) ?(|kB|MB|GB|TB)", value, re.ASCII)
        if found is None:
            self.fail(f"{value!r} is not a size such as 500MB or 2GB.", param, ctx)
        return int(found[1]) * _UNITS[found[2]]


@click.command()
@click.option(
    "--dump",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Restore this file of `pg_dump --format=custom`, instead of copying the database in use.",
)
@click.option("--template", metavar="NAME", help="Copy this database of the server. No one may be connected to it.")
@click.option("--copy", "copy_url", metavar="URL", help="Use this copy, which you have made. It is migrated, and kept.")
@click.option("--server", metavar="URL", help="A database of the server that gets the copy. [default: the one in use]")
@click.option(
    "--old-version",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="PATH",
    help="The `idp` that runs now: it runs on the copy too, during the migrations and after.",
)
@click.option("--flows/--no-flows", default=True, help="Start servers on the copy and sign in.  [default: flows]")
@click.option("--keep", is_flag=True, help="Keep the copy.")
@click.option("--large", type=_Size(), metavar="SIZE", help="Size from which a table is large.  [default: 100MB]")
@click.option(
    "--max-lock",
    type=click.FloatRange(min=0.05, max=3600),
    metavar="SECONDS",
    help="How long a migration may block a table.  [default: 2]",
)
@json_option
def rehearse(
    *,
    dump: Path | None,
    template: str | None,
    copy_url: str | None,
    server: str | None,
    old_version: Path | None,
    flows: bool,
    keep: bool,
    large: int | None,
    max_lock: float | None,
    as_json: bool,
) -> None:
    """Try an upgrade on a copy of the database: go or no-go.

    The pending migrations run there, and each statement is measured. Then this version, and the old one beside it, run
    on the copy, isolated, and a temporary user signs in at each. The database in use is only read. docs/upgrades.md.

    The exit code is 0 for go, 1 for no-go, and 2 if there is no verdict.
    """
    from idp.infra.db.blocking import LIMIT_SECONDS
    from idp.rehearsal.copy import Source
    from idp.rehearsal.rehearsal import Plan
    from idp.rehearsal.verdict import LARGE_BYTES, Limits

    if sum(source is not None for source in (dump, template, copy_url)) > 1:
        raise click.UsageError("--dump, --template and --copy exclude each other.")
    if copy_url is not None and (server is not None or keep):
        raise click.UsageError("--copy goes without --server and --keep.")
    plan = Plan(
        source=Source(dump, template, copy_url, server),
        limits=Limits(LARGE_BYTES if large is None else large, LIMIT_SECONDS if max_lock is None else max_lock),
        new=(sys.executable, "-m", "idp"),
        old=(str(old_version.absolute()),) if old_version else None,
        flows=flows,
        keep=keep,
    )
    report = _run(plan)
    if as_json:
        print_json(report)
    else:
        _print(report)
    sys.exit(GO if report.go else NO_GO)


def _run(plan: "Plan") -> "Report":
    """Rehearse. Whatever prevents a verdict, and a signal, ends this process after the copy was dropped."""
    from idp.cli.main import sentence
    from idp.errors import IdpError
    from idp.infra.db import outages

    try:
        return asyncio.run(_rehearse(plan))
    except (IdpError, *outages.ERRORS) as error:
        click.echo(f"Error: {sentence(error)}", err=True)
        sys.exit(UNKNOWN)
    except (KeyboardInterrupt, asyncio.CancelledError):
        click.echo("Interrupted.", err=True)
        sys.exit(UNKNOWN)


async def _rehearse(plan: "Plan") -> "Report":
    from idp.cli.database import embedded_url, log_for_people
    from idp.rehearsal.rehearsal import rehearse
    from idp.settings import settings

    task = asyncio.current_task()
    assert task is not None  # noqa: S101 -- this runs in one
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    # This process sends nothing of the copy either.
    os.environ["IDP_ISOLATED"] = "true"
    settings.cache_clear()
    config = settings()
    log_for_people(config)
    with ExitStack() as stack:
        live = config.database_url.get_secret_value() if config.database_url else None
        if live is None and plan.source.copy is None and plan.source.server is None:
            live = embedded_url(config, stack, create=False)
        with progress("Rehearsing") as tell:
            return await rehearse(plan, config, live, lambda step: tell(description=step))


def _print(report: "Report") -> None:
    from idp.rehearsal.verdict import bytes_in_words

    versions = " to ".join(report.versions[name] for name in ("old", "new") if name in report.versions)
    click.echo(f"Rehearsed: {versions}, on a copy of {bytes_in_words(report.database_bytes)}.\n")
    for migration in report.migrations:
        _print_migration(migration)
    if not report.migrations:
        click.echo("No migration is pending.\n")
    if report.flows:
        _print_flows(report.flows)
    if report.kept:
        click.echo(f"The copy is kept: {report.kept}.")
    reasons = sum(len(migration.problems) for migration in report.migrations)
    reasons += sum(bool(flow.failure) for flow in report.flows)
    click.secho("Go." if report.go else f"No-go: {reasons} {'reason' if reasons == 1 else 'reasons'}.", bold=True)


def _print_migration(migration: "MeasuredMigration") -> None:
    from idp.rehearsal.verdict import bytes_in_words

    how = "one transaction" if migration.in_transaction else "outside of transactions"
    click.secho(_line(migration.name, f"{migration.seconds:.2f} s"), bold=True)
    click.echo(
        wrapped(
            f"{how}; {bytes_in_words(migration.new_bytes)} of new files, {bytes_in_words(migration.wal_bytes)} of"
            " write-ahead log",
            2,
        )
    )
    for number, statement in enumerate(migration.statements, 1):
        _print_statement(number, statement, migration)
    for problem in migration.problems:
        click.secho("  NO-GO", fg="red")
        click.echo(wrapped(problem.text, 6))
        if problem.advice:
            click.echo(wrapped(f"Instead: {problem.advice}", 6))
    click.echo()


def _print_statement(number: int, statement: "Statement", migration: "MeasuredMigration") -> None:
    from idp.rehearsal.verdict import bytes_in_words

    click.echo(_line(f"{number:3}  {text(statement.text)}", f"{statement.seconds:.2f} s"))
    for lock in statement.locks:
        size = migration.tables[lock.table]
        click.echo(
            wrapped(
                f"{lock.table} ({size.rows:,} rows, {bytes_in_words(size.bytes)}): {lock.mode} for {lock.seconds:.2f} s"
                + (", rewritten" if lock.table in statement.rewritten else ""),
                6,
            )
        )


def _line(left: str, right: str) -> str:
    """Return a line with a value at its right end. A left part that is too long is cut."""
    from idp.cli.output import WIDTH

    room = WIDTH - len(right) - 2
    left = left if len(left) <= room else f"{left[: room - 1]}…"
    return f"{left:{room}}  {right}"


def _print_flows(flows: "list[Flow]") -> None:
    for flow in flows:
        click.echo(_line(f"{flow.version:10}  {flow.name}", f"{flow.seconds:.2f} s"))
        if flow.failure:
            click.secho("  NO-GO", fg="red")
            click.echo(wrapped(flow.failure, 6))
    click.echo()
