"""`idp provisioning`: applications to which users and groups are sent over SCIM."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

import rich_click as click

from idp.cli.database import with_database
from idp.cli.named_user import address_book
from idp.cli.options import together
from idp.cli.output import json_option, print_details, print_json, print_table
from idp.cli.progress import progress

if TYPE_CHECKING:
    from idp.provisioning.models import Target
    from idp.provisioning.repository.jobs import Job


@click.group()
def provisioning() -> None:
    """The applications to which users are sent over SCIM.

    TARGET is the name or the id of one.
    """


_TOKEN = click.option(
    "--token-file", type=click.File(), help="File with the bearer token; - for standard input. Without it: a prompt."
)
_OPTIONS: Callable[[Any], Any] = together(
    click.option(
        "--users", type=click.Choice(["all", "groups", "organization", "client"]),
        help="Which users it gets: all, those in groups, members of an organisation, or those who may use a client.",
    ),
    click.option("--group", "groups", multiple=True, help="Name or id of a group whose members it gets. Repeatable."),
    click.option("--organization", help="Slug of the organisation whose members it gets."),
    click.option("--client", "client_id", help="The client whose users the target gets, by its access policy."),
    click.option("--push-group", "pushed_groups", multiple=True, help=(
        "Group that the target gets as a group. May be repeated."
    )),
    click.option(
        "--map", "mapping", multiple=True,
        help="ATTRIBUTE=SOURCE, such as userName=email or title=attribute:title. Repeatable; replaces the mapping.",
    ),
    click.option(
        "--match", type=click.Choice(["userName", "externalId", "email"]),
        help="The attribute by which accounts that exist there are adopted.",
    ),
    click.option(
        "--removal", type=click.Choice(["deactivate", "delete"]),
        help="What happens there to users who are deleted here, or no longer belong to the target.",
    ),
    click.option("--mends/--reports", default=None, help="Whether periodic checks also repair differences."),
)  # fmt: skip


def _token(file: TextIO | None) -> str:
    if file is not None:
        return file.read().strip()
    return str(click.prompt("Token", hide_input=True)).strip()


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given. An empty text in a list empties it."""
    named = {name: value for name, value in options.items() if value not in (None, ())}
    return {
        name: [each for each in value if each] if isinstance(value, tuple) else value for name, value in named.items()
    }


@provisioning.command()
@click.argument("name")
@click.argument("base_url")
@_TOKEN
@_OPTIONS
@json_option
@with_database
async def create(name: str, base_url: str, token_file: TextIO | None, as_json: bool, **options: Any) -> None:
    """Create a target. It gets nothing until it is enabled.

    BASE_URL is that of its SCIM server, such as https://app.example.com/scim/v2.
    """
    from idp.provisioning import targets, texts

    values = await texts.read(_given(options))
    target_id = await targets.create(name, base_url, _token(token_file), **values)
    if as_json:
        print_json({"id": str(target_id)})
        return
    print_details({"id": str(target_id)})
    click.echo(f"Next: idp provisioning test {target_id}, and idp provisioning enable {target_id}.", err=True)


@provisioning.command("list")
@json_option
@with_database
async def list_targets(as_json: bool) -> None:
    """List the targets."""
    from idp.provisioning.repository import targets

    found = await targets.targets()
    if as_json:
        print_json(found)
        return
    print_table(
        ("Id", "Name", "Base URL", "Users", "Failing", "Disabled"),
        [(t.id, t.name, t.base_url, t.users.value, t.failing_reason, t.disabled_at) for t in found],
    )


@provisioning.command()
@click.argument("target")
@json_option
@with_database
async def show(target: str, as_json: bool) -> None:
    """Show a target, and how far its jobs are."""
    from idp.provisioning import texts
    from idp.provisioning.repository import jobs
    from idp.provisioning.repository.subjects import users

    found = await texts.named_target(target)
    push, check = await jobs.job(found.id, "push"), await jobs.job(found.id, "check")
    counts = await users.counts(found.id)
    if as_json:
        print_json({"target": found, "counts": counts, "push": push, "check": check})
        return
    print_details(
        {"id": found.id, **await texts.written(found), "failing": found.failing_reason, "disabled": found.disabled_at}
        | {f"users {name}": number for name, number in counts.items()}
        | {name: job_state(job) for name, job in (("push", push), ("check", check)) if job is not None}
    )


def job_state(job: "Job") -> str:
    """Return how far a job is, in one line."""
    counts = "".join(f", {number} {name}" for name, number in job.counts.items())
    of = f" of {job.total}" if job.total is not None else ""
    return f"{job.state}, {job.done}{of} users{counts}" + (f": {job.error}" if job.error else "")


@provisioning.command()
@click.argument("target")
@click.option("--name", help="The new name.")
@click.option("--base-url", help="The new base URL, which needs the token too.")
@_TOKEN
@_OPTIONS
@with_database
async def update(target: str, token_file: TextIO | None, **options: Any) -> None:
    """Change a target. What is not given stays; --push-group "" stops pushing groups.

    All users are looked at again.
    """
    from idp.provisioning import targets, texts

    found = await texts.named_target(target)
    token = _token(token_file) if token_file is not None or options["base_url"] is not None else None
    await targets.update(found.id, await texts.read(_given(options)), token)
    click.echo(f"The target {found.id} is changed.")


@provisioning.command("set-token")
@click.argument("target")
@_TOKEN
@with_database
async def set_token(target: str, token_file: TextIO | None) -> None:
    """Replace the token of a target. Deliveries that wait are sent with the new one."""
    from idp.provisioning import targets, texts

    found = await texts.named_target(target)
    await targets.set_token(found.id, _token(token_file))
    click.echo(f"The target {found.id} has a new token.")


@provisioning.command()
@click.argument("target")
@json_option
@with_database
async def test(target: str, as_json: bool) -> None:
    """Ask the SCIM server of a target for what it supports. Nothing is changed there."""
    from idp.provisioning import targets, texts

    features = await targets.test((await texts.named_target(target)).id)
    if as_json:
        print_json(features)
        return
    print_details({"works": True, "PATCH": features.patch, "ETag": features.etag, "pages by cursor": features.cursor})


async def _change(target: str, change: Callable[["Target"], Any], text: str) -> None:
    from idp.provisioning import texts

    found = await texts.named_target(target)
    await change(found)
    click.echo(text.format(found.id))


@provisioning.command()
@click.argument("target")
@with_database
async def enable(target: str) -> None:
    """Enable a target. A running server sends all its users to it."""
    from idp.provisioning import targets

    await _change(target, lambda found: targets.set_enabled(found.id, True), "The target {} is enabled.")


@provisioning.command()
@click.argument("target")
@with_database
async def disable(target: str) -> None:
    """Send nothing more to a target, and give up what waits."""
    from idp.provisioning import targets

    await _change(target, lambda found: targets.set_enabled(found.id, False), "The target {} is disabled.")


@provisioning.command()
@click.argument("target")
@with_database
async def delete(target: str) -> None:
    """Delete a target, and give up what waits. The accounts there stay as they are."""
    from idp.provisioning import targets

    await _change(target, lambda found: targets.delete(found.id), "The target {} is deleted.")


@provisioning.command()
@click.argument("target")
@with_database
async def push(target: str) -> None:
    """Look at every user of a target, and send those who differ from what was last sent."""
    from idp.provisioning import targets

    await _change(
        target, lambda found: targets.start(found.id, "push"),
        "A running server looks at every user: idp provisioning show {}",
    )  # fmt: skip


@provisioning.command()
@click.argument("target")
@with_database
async def stop(target: str) -> None:
    """Stop the push and the check. Deliveries already queued are sent."""
    from idp.provisioning import targets

    await _change(target, lambda found: targets.stop(found.id, "push", "check"), "The jobs of {} are stopped.")


@provisioning.command()
@click.argument("target")
@with_database
async def resume(target: str) -> None:
    """Continue the push and the check that were stopped or have failed."""
    from idp.provisioning import targets

    await _change(target, lambda found: targets.resume(found.id, "push", "check"), "The jobs of {} continue.")


@provisioning.command()
@click.argument("target")
@click.option("--mend", is_flag=True, help="Also queue what differs; a running server sends it.")
@json_option
@with_database
async def check(target: str, mend: bool, as_json: bool) -> None:
    """Compare all users and groups at a target with this server, page by page, and show what differs.

    Accounts that this server neither made nor adopted are unmanaged, and stay as they are. If the command is
    interrupted, a running server goes on; `idp provisioning show` says how far it is, and
    `idp provisioning drift` what was found.
    """
    import asyncio

    from idp.accounts.attributes.registry import attributes
    from idp.provisioning import jobs as work
    from idp.provisioning import targets, texts
    from idp.provisioning.repository import jobs

    found = await texts.named_target(target)
    await attributes.load()
    job = await targets.start(found.id, "check", mend=mend)
    with progress(job_state(job)) as tell:
        while job.state == "running":
            if not await work.work(found.id):
                await asyncio.sleep(0.5)
            job = await jobs.job(found.id, "check") or job
            tell(job.done, total=job.total, description=job_state(job))
    if job.state != "done":
        raise click.ClickException(f"The check is {job.state}. {job.error}")
    await _print_drift(found, job, as_json)


async def _print_drift(target: "Target", job: "Job | None", as_json: bool) -> None:
    from idp.infra.db.listing import all_rows
    from idp.infra.db.rows import many
    from idp.provisioning.repository.drift import DRIFT, ListedDrift

    rows = many(ListedDrift, await all_rows(DRIFT, {"target_id": str(target.id)}))
    if as_json:
        print_json({"check": job, "drift": rows})
        return
    if job is not None:
        print_details({"check": job_state(job)})
    named = await address_book(row.user_id for row in rows)
    print_table(
        ("Difference", "User", "Group", "There", "Details"),
        [(row.kind.value, named(row.user_id), row.group_id, row.remote_id, list(row.details)) for row in rows],
    )


@provisioning.command()
@click.argument("target")
@json_option
@with_database
async def drift(target: str, as_json: bool) -> None:
    """Show what the last check of a target has found: at most 1,000 differences, and the number of each kind."""
    from idp.provisioning import texts
    from idp.provisioning.repository import jobs

    found = await texts.named_target(target)
    await _print_drift(found, await jobs.job(found.id, "check"), as_json)


@provisioning.command()
@click.argument("target")
@click.option("--refused", is_flag=True, help="Only users whose last delivery was refused.")
@json_option
@with_database
async def users(target: str, refused: bool, as_json: bool) -> None:
    """List the users at a target, as last sent."""
    from idp.infra.db.listing import all_rows
    from idp.infra.db.rows import many
    from idp.provisioning import texts
    from idp.provisioning.repository.subjects import PROVISIONED_USERS, ListedUser

    found = await texts.named_target(target)
    filters = {"target_id": str(found.id)} | ({"refused": "true"} if refused else {})
    rows = many(ListedUser, await all_rows(PROVISIONED_USERS, filters))
    if as_json:
        print_json(rows)
        return
    named = await address_book(row.user_id for row in rows)
    print_table(
        ("User", "There", "State", "Waits", "Refused"),
        [(named(row.user_id), row.remote_id, row.state.value, row.queued, row.error) for row in rows],
    )
