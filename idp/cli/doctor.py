"""`idp doctor`: examine the server and its surroundings, and say how to fix what is wrong."""

import sys
from typing import TYPE_CHECKING, Any

import rich_click as click

from idp.cli.output import json_option, print_json, wrapped
from idp.cli.progress import progress

if TYPE_CHECKING:
    from idp.doctor.models import Check, Context, Finding, Result

#: A pool of public time servers.
TIME_SERVER = "pool.ntp.org"
_COLORS = {"ok": "green", "note": "blue", "warning": "yellow", "error": "red"}


@click.command()
@click.option("--only", "names", multiple=True, metavar="NAME", help="Only this check. Can be repeated.")
@click.option("--offline", is_flag=True, help="Call no other server than PostgreSQL.")
@click.option("--send-test", metavar="ADDRESS", help="Send a test mail to this address.")
@click.option(
    "--time-server", default=TIME_SERVER, show_default=True, help="NTP server to compare with, as host or host:port."
)
@click.option("--all", "everything", is_flag=True, help="Also show what is well.")
@json_option
def doctor(
    *, names: tuple[str, ...], offline: bool, send_test: str | None, time_server: str, everything: bool, as_json: bool
) -> None:
    """Examine the server and its surroundings, and say how to fix what is wrong.

    Nothing is changed. docs/doctor.md describes the checks and their findings.

    The exit code is 0 if nothing has to be done, 1 for warnings, and 2 for errors.
    """
    import asyncio

    from idp.doctor.models import exit_code, to_json

    checks = _chosen(names)
    with progress("Examining the server"):
        results = asyncio.run(_examine(checks, network=not offline, send_test=send_test, time_server=time_server))
    if as_json:
        print_json(to_json(results))
    else:
        _print(results, everything=everything)
    sys.exit(exit_code(results))


def _chosen(names: tuple[str, ...]) -> "list[Check]":
    from idp.doctor.checks import CHECKS

    known = {check.name: check for check in CHECKS}
    if unknown := sorted(set(names) - known.keys()):
        raise click.UsageError(f"There is no check {unknown[0]}. The checks are {', '.join(known)}.")
    return [check for check in CHECKS if not names or check.name in names]


async def _examine(checks: "list[Check]", **options: Any) -> "list[Result]":
    """Run the checks with as much as works: the settings, the database, the root key."""
    from contextlib import AsyncExitStack

    from idp.admin.built_in import build_in
    from idp.cli import development
    from idp.cli.database import database
    from idp.doctor.examination import examine, found
    from idp.doctor.models import Context, error
    from idp.errors import IdpError
    from idp.settings import SettingsError, settings

    try:
        development.adopt()
        config = settings()
    except SettingsError as failure:
        mend = "Correct or remove it in the environment or in .env. `idp settings` lists all with their meaning."
        problems = [error("settings_invalid", line, mend) for line in failure.description.splitlines()]
        return [found("settings", "Settings", problems)]
    build_in()
    context = Context(settings=config, **options)
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(database(migrated=False))
        except IdpError as failure:
            mend = "Check IDP_DATABASE_URL, that PostgreSQL runs, and the network and pg_hba.conf between."
            unreachable = found(
                "database", "PostgreSQL", [error("database_unreachable", failure.description, mend)], config
            )
            results = await examine(checks, context)
            return [unreachable if result.check == "database" else result for result in results]
        return await examine(checks, await _provided(context))


async def _provided(context: "Context") -> "Context":
    import msgspec

    from idp.doctor import preparation

    return msgspec.structs.replace(context, provides=await preparation.provided())


def _print(results: "list[Result]", *, everything: bool) -> None:
    from idp.doctor.models import Level

    for result in results:
        shown = [one for one in result.findings if everything or one.level is not Level.OK]
        if shown:
            click.secho(f"{result.title}  ({result.docs})", bold=True)
            for finding in shown:
                _print_finding(finding)
            click.echo()
    click.echo(_summary(results))


def _print_finding(finding: "Finding") -> None:
    click.secho(f"  {finding.level.upper():8}{finding.name}".rstrip(), fg=_COLORS[finding.level])
    for text in filter(None, (finding.text, finding.mend and f"Fix: {finding.mend}")):
        click.echo(wrapped(text))


def _summary(results: "list[Result]") -> str:
    from collections import Counter

    from idp.doctor.models import Level

    levels = Counter(finding.level for result in results for finding in result.findings)
    bad = (Level.ERROR, Level.WARNING, Level.NOTE)
    numbers = [f"{levels[level]} {level}{'' if levels[level] == 1 else 's'}" for level in bad]
    skipped = [result for result in results if result.skipped]
    lines = [f"{', '.join(numbers)} by {len(results) - len(skipped)} checks."]
    for reason in dict.fromkeys(result.skipped for result in skipped):
        names = ", ".join(result.check for result in skipped if result.skipped == reason)
        lines.append(wrapped(f"Skipped: {names}. {reason}", 0))
    return "\n".join(lines)
