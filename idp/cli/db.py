"""`idp db`: migrations, distribution over nodes, and recovery after a restored backup."""

from typing import TYPE_CHECKING

import rich_click as click

from idp.cli.database import database, with_database
from idp.cli.output import json_option, print_json, print_table
from idp.cli.progress import progress
from idp.cli.rehearse import rehearse

if TYPE_CHECKING:
    from idp.infra.db.migrate import Migration


@click.group()
def db() -> None:
    """Migrations, distribution over nodes, and recovery after a restored backup."""


db.add_command(rehearse)


@db.command()
@click.option(
    "--any-lock", is_flag=True, help="Do not stop a migration that blocks requests. Only in a maintenance window."
)
def upgrade(any_lock: bool) -> None:
    """Apply the pending migrations.

    It is safe to run this several times at once, and while the server runs. A migration that blocks the requests on a
    table for more than two seconds is stopped and rolled back: `idp db rehearse` finds it before.
    """
    import asyncio

    applied = asyncio.run(_upgrade(any_lock=any_lock))
    for key in applied:
        click.echo(f"Applied {key}.")
    if not applied:
        click.echo("The database is up to date.")


async def _upgrade(*, any_lock: bool) -> list[str]:
    from idp.infra.db import migrate

    async with database(migrated=False, create=True):
        await migrate.check_version()
        with progress("Migrating the database"):
            return await migrate.upgrade(any_lock=any_lock)


@db.command()
@click.option(
    "--keep-keys", is_flag=True, help="Keep the signing keys, because none was revoked since the backup was made."
)
@click.confirmation_option(
    prompt="All users are signed out, and all codes, tokens, links and invitations are revoked. Continue?"
)
@json_option
@with_database
async def restored(keep_keys: bool, as_json: bool) -> None:
    """Revoke everything that may have been revoked or used since a restored backup was made.

    The server does this at start if the database is older than the mark next to the master key.
    """
    from idp.admin import restore as recovery
    from idp.keys import vault

    # The mark and the new signing keys need the master key and report a missing one.
    vault.root_key()
    with progress("Revoking what was issued since the backup"):
        report = await recovery.revoke_after_restore(keep_keys=keep_keys)
    if as_json:
        print_json(report)
        return
    click.echo(f"{recovery.summary(report)}\n")
    print_table(("Ended", "How many"), [(name.replace("_", " "), count) for name, count in report.ended.items()])
    click.echo("\nThe database cannot know the following. Compare with your logs and your records:")
    for line in report.to_check:
        click.echo(f"- {line}")


@db.command()
@json_option
def status(as_json: bool) -> None:
    """List the migrations with the times they were applied."""
    import asyncio

    found = asyncio.run(_status())
    if as_json:
        print_json(found)
        return
    print_table(
        ("Migration", "Name", "Applied"),
        [(migration.id, migration.name, migration.applied_at or "pending") for migration in found],
    )


async def _status() -> "list[Migration]":
    from idp.infra.db import migrate

    async with database(migrated=False):
        return await migrate.status()


@db.command()
@click.option("--plan", "only_plan", is_flag=True, help="Print the statements, and change nothing.")
@with_database
async def distribute(only_plan: bool) -> None:
    """Place the tables on the nodes of a Citus cluster. Stop all servers first.

    It places what is not placed yet, and so also the tables of a later release.
    """
    from idp.infra.db import distribution
    from idp.piccolo_app import BY_USER, REFERENCE

    statements = await distribution.plan(distribution.Placement(BY_USER, REFERENCE))
    if only_plan:
        for statement in statements:
            click.echo(f"{statement};")
        return
    if not statements:
        click.echo("All tables are placed.")
        return
    with progress("Placing the tables"):
        await distribution.run(statements)
    click.echo("The tables are placed. Start the servers.")
