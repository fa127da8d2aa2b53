"""`idp deliveries`: requests to other systems that wait, were made, or were given up."""

from typing import Any
from uuid import UUID

import rich_click as click

from idp.cli.database import with_database
from idp.cli.output import json_option, print_details, print_json, print_table
from idp.errors import NotFoundError

STATES = ("queued", "deferred", "delivered", "dead")


class NoDeliveryError(NotFoundError):
    """There is no such delivery."""

    def __init__(self) -> None:
        super().__init__("There is no delivery with this id.")


@click.group()
def deliveries() -> None:
    """The requests to other systems: logouts, notifications, events."""


@deliveries.command("list")
@click.option("--state", type=click.Choice(STATES), help="Only deliveries in this state.")
@click.option("--kind", help="Only deliveries of this kind.")
@click.option("--stream", help="Only deliveries to this receiver, such as client:CLIENT_ID.")
@click.option(
    "--limit", type=click.IntRange(1, 200), default=100, show_default=True, help="Maximum number of deliveries."
)
@json_option
@with_database
async def list_deliveries(*, limit: int, as_json: bool, **filters: str | None) -> None:
    """List deliveries, newest first, with their state and the receiver's last response."""
    from idp.delivery.repository import DELIVERIES
    from idp.infra.db.listing import list_page

    page = await list_page(DELIVERIES, {name: value for name, value in filters.items() if value}, limit=limit)
    found = [_shown(row) for row in page.rows]
    if as_json:
        print_json(found)
        return
    names = ("id", "created_at", "stream", "kind", "state", "attempts", "response")
    print_table(
        ("Id", "Written", "Receiver", "Kind", "State", "Attempts", "Response"),
        [[row[name] for name in names] for row in found],
    )


def _shown(row: Any) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not name.startswith("_")}


@deliveries.command()
@click.argument("delivery_id", metavar="ID", type=click.UUID)
@json_option
@with_database
async def show(delivery_id: UUID, as_json: bool) -> None:
    """Show a delivery, without its content."""
    from idp.delivery.repository import DELIVERIES
    from idp.infra.db.listing import find

    row = await find(DELIVERIES, id=str(delivery_id))
    if row is None:
        raise NoDeliveryError
    (print_json if as_json else print_details)(_shown(row))


@deliveries.command()
@click.argument("delivery_id", metavar="[ID]", type=click.UUID, required=False)
@click.option("--stream", help="All dead deliveries to this receiver, such as client:CLIENT_ID.")
@with_database
async def replay(delivery_id: UUID | None, stream: str | None) -> None:
    """Send a dead or deferred delivery again, or all dead ones to a receiver, with the ids that they had."""
    from idp.delivery import replay as service

    if (delivery_id is None) == (stream is None):
        raise click.UsageError("Name a delivery or --stream.")
    if delivery_id is not None:
        await service.replay(delivery_id)
        click.echo("A running server sends it immediately.")
    if stream is not None:
        click.echo(f"A running server sends {await service.replay_stream(stream)} deliveries again.")
