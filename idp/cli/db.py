"""`idp db`: the state of the database."""

from typing import TYPE_CHECKING

import rich_click as click

from idp.cli.database import database
from idp.cli.output import json_option, print_json, print_table

if TYPE_CHECKING:
    from idp.db.migrate import Migration


@click.group()
def db() -> None:
    """Bring the database up to date."""


@db.command()
def upgrade() -> None:
    """Apply the pending migrations.

    Several may do so at once, and while the server runs.
    """
    import asyncio

    applied = asyncio.run(_upgrade())
    for key in applied:
        click.echo(f"Applied {key}.")
    if not applied:
        click.echo("The database is up to date.")


async def _upgrade() -> list[str]:
    from idp.db import migrate

    async with database(migrated=False, create=True):
        await migrate.check_version()
        return await migrate.upgrade()


@db.command()
@json_option
def status(as_json: bool) -> None:
    """List the migrations and when they were applied."""
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
    from idp.db import migrate

    async with database(migrated=False):
        return await migrate.status()
