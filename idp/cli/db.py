"""`idp db`: migrations, and recovery after a restored backup."""

from typing import TYPE_CHECKING

import rich_click as click

from idp.cli.database import database, with_database
from idp.cli.output import json_option, print_json, print_table

if TYPE_CHECKING:
    from idp.infra.db.migrate import Migration


@click.group()
def db() -> None:
    """Migrations, and recovery after a restored backup."""


@db.command()
def upgrade() -> None:
    """Apply the pending migrations.

    It is safe to run this several times at once, and while the server runs.
    """
    import asyncio

    applied = asyncio.run(_upgrade())
    for key in applied:
        click.echo(f"Applied {key}.")
    if not applied:
        click.echo("The database is up to date.")


async def _upgrade() -> list[str]:
    from idp.infra.db import migrate

    async with database(migrated=False, create=True):
        await migrate.check_version()
        return await migrate.upgrade()


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
