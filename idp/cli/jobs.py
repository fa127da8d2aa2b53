"""`idp jobs`: acts on many users, which a running server does in the background."""

from typing import TYPE_CHECKING, TextIO
from uuid import UUID

import rich_click as click
from click.exceptions import Exit

from idp.cli.database import with_database
from idp.cli.directory import find_group, first_rows, limit_option
from idp.cli.job_progress import follow_job, sentence
from idp.cli.named_user import address_book
from idp.cli.output import json_option, print_details, print_json, print_table, text

if TYPE_CHECKING:
    from idp.admin.bulk.models import Job

#: Failed items that `idp jobs show` prints.
SHOWN = 20

job_argument = click.argument("job_id", metavar="JOB", type=click.UUID)


@click.group()
def jobs() -> None:
    """Acts on many users. A running server does them in the background; JOB is the id of one."""


@jobs.command("list")
@click.option("--state", type=click.Choice(["queued", "running", "finished", "cancelled", "failed"]))
@limit_option
@json_option
@with_database
async def list_jobs(*, state: str | None, limit: int, as_json: bool) -> None:
    """List jobs, newest first."""
    from idp.admin.bulk.repository.jobs import JOBS

    found = await first_rows(JOBS, limit, state=state)
    if as_json:
        print_json(found)
        return
    named = await address_book(row["actor"] for row in found)
    print_table(
        ("Job", "Kind", "State", "Done", "Failed", "By", "Since"),
        [
            (row["id"], row["kind"], row["state"], f"{row['done']} of {row['total']}", row["failed"],
             named(row["actor"]), row["created_at"])
            for row in found
        ],
    )  # fmt: skip


@jobs.command()
@job_argument
@json_option
@with_database
async def show(*, job_id: UUID, as_json: bool) -> None:
    """Show how far a job is, and the first items that failed."""
    from idp.admin.bulk import service
    from idp.admin.bulk.repository.items import ERRORS

    job = await service.found(job_id)
    errors = await first_rows(ERRORS, SHOWN, job_id=str(job_id))
    if as_json:
        print_json({**_shown(job), "errors": errors})
        return
    print_details(_shown(job))
    if errors:
        print_table(("Number", "User", "Why"), [(row["number"], row["name"], row["reason"]) for row in errors])
    if job.failed > len(errors):
        click.echo(f"{job.failed - len(errors)} more failed: idp jobs errors {job.id}", err=True)


def _shown(job: "Job") -> dict[str, object]:
    import msgspec

    shown: dict[str, object] = msgspec.to_builtins(job, builtin_types=(UUID,))
    del shown["caller"]
    return shown | {"parameters": msgspec.json.decode(job.parameters)}


@jobs.command()
@job_argument
@limit_option
@json_option
@with_database
async def errors(*, job_id: UUID, limit: int, as_json: bool) -> None:
    """List the items of a job that failed, and why."""
    from idp.admin.bulk import service
    from idp.admin.bulk.repository.items import ERRORS

    await service.found(job_id)
    found = await first_rows(ERRORS, limit, job_id=str(job_id))
    if as_json:
        print_json(found)
        return
    print_table(("Number", "User", "Why"), [(row["number"], row["name"], row["reason"]) for row in found])


@jobs.command()
@job_argument
@with_database
async def cancel(job_id: UUID) -> None:
    """Cancel a job. What it has done stays."""
    from idp.admin.bulk import service

    click.echo(sentence(await service.cancel(job_id, None)))


@jobs.command()
@job_argument
@with_database
async def resume(job_id: UUID) -> None:
    """Continue a job that was cancelled or has failed."""
    from idp.admin.bulk import service

    click.echo(sentence(await service.resume(job_id, None)))


@jobs.command()
@job_argument
@with_database
async def follow(job_id: UUID) -> None:
    """Wait until a job has ended, with a bar on a terminal. Exits with 1 if it or an item failed.

    To interrupt the command does not interrupt the job.
    """
    from idp.admin.bulk import service

    await _follow(await service.found(job_id))


async def _follow(job: "Job") -> None:
    job = await follow_job(job)
    click.echo(sentence(job))
    if job.failed or job.state != "finished":
        raise Exit(1)


@jobs.command()
@click.argument("kind")
@click.argument("users", nargs=-1, metavar="[USER]...")
@click.option("--file", type=click.File(encoding="utf-8"), help="One USER per line.")
@click.option(
    "--filter", "filters", multiple=True, metavar="NAME=VALUE", help="All who match, as in the list of users."
)
@click.option("--all", "everybody", is_flag=True, help="All users.")
@click.option("--group", metavar="GROUP", help="The group to add users to, or to remove them from.")
@click.option("--expected", type=click.IntRange(min=1), help="The number of users; with another one nothing is done.")
@click.option("--follow", "waits", is_flag=True, help="Wait until the job has ended.")
@with_database
async def start(
    *,
    kind: str,
    users: tuple[str, ...],
    file: TextIO | None,
    filters: tuple[str, ...],
    everybody: bool,
    group: str | None,
    expected: int | None,
    waits: bool,
) -> None:
    """Start a job of a KIND: disable, enable, sign_out, add_to_group, remove_from_group or delete.

    USER is an email address or an id. A deletion needs --expected.
    """
    import msgspec

    from idp.accounts.attributes.models import Audience
    from idp.accounts.attributes.search import filters as attribute_filters
    from idp.accounts.repository.users import EVERY_USER
    from idp.admin.bulk import service
    from idp.admin.bulk.kinds import act_of
    from idp.admin.bulk.models import Selection

    if bool(users or file) + bool(filters) + everybody != 1:
        raise click.UsageError("Name users, or choose one of --filter and --all.")
    found = act_of(kind)
    given = {"group_id": (await find_group(group)).id} if group is not None else {}
    try:
        parameters = msgspec.convert(given, found.parameters)
    except msgspec.ValidationError as error:
        raise click.UsageError("This kind needs --group." if not given else "This kind has no --group.") from error
    names = (*users, *file.read().splitlines()) if file is not None else users
    selection = Selection(dict(_pair(each) for each in filters), names if users or file else None)
    listing = msgspec.structs.replace(
        EVERY_USER, filters={**EVERY_USER.filters, **await attribute_filters(Audience.OWNER)}
    )
    job = await service.create(None, found, parameters, selection, users=listing, expected=expected)
    click.echo(str(job.id))
    if waits:
        await _follow(job)


def _pair(text_: str) -> tuple[str, str]:
    name, equals, value = text_.partition("=")
    if not equals:
        raise click.UsageError(text(f"A filter is NAME=VALUE, not {text_}."))
    return name, value
