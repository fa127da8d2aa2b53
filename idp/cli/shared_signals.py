"""`idp shared-signals`: the streams of security events to clients."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import rich_click as click

from idp.cli.database import with_database
from idp.cli.output import json_option, print_details, print_json, print_table
from idp.errors import NotFoundError
from idp.events.ssf.changes import CHANGES, StatusChange

_ID = click.argument("stream_id", metavar="ID", type=click.UUID)


class NoStreamError(NotFoundError):
    """There is no such stream."""

    def __init__(self) -> None:
        super().__init__("There is no stream with this id.")


@click.group("shared-signals")
def shared_signals() -> None:
    """The streams of security events that clients created (Shared Signals Framework)."""


@shared_signals.command("list")
@click.option("--client", "client_id", help="Only streams to this client.")
@click.option(
    "--status", type=click.Choice([change.status for change in CHANGES]), help="Only streams with this status."
)
@click.option("--limit", type=click.IntRange(1, 200), default=100, show_default=True, help="Maximum number of streams.")
@json_option
@with_database
async def list_streams(*, limit: int, as_json: bool, **filters: str | None) -> None:
    """List the streams, newest first."""
    from idp.events.ssf.administration import read
    from idp.events.ssf.repository import STREAMS
    from idp.infra.db.listing import list_page

    page = await list_page(STREAMS, {name: value for name, value in filters.items() if value}, limit=limit)
    found = [read(row) for row in page.rows]
    if as_json:
        print_json(found)
        return
    columns = ("id", "client_id", "endpoint_url", "status", "delivered_at", "waiting", "dead", "description")
    print_table(
        ("Id", "Client", "Pushed to (none: polled)", "Status", "Last delivered", "Waiting", "Dead", "Description"),
        [[getattr(stream, name) for name in columns] for stream in found],
    )


@shared_signals.command()
@_ID
@json_option
@with_database
async def show(stream_id: UUID, as_json: bool) -> None:
    """Show a stream, its receiver, and how far the deliveries are."""
    import msgspec

    from idp.events.ssf.administration import read
    from idp.events.ssf.repository import STREAMS
    from idp.infra.db.listing import find

    row = await find(STREAMS, id=str(stream_id))
    if row is None:
        raise NoStreamError
    found: Mapping[str, Any] = msgspec.structs.asdict(read(row))
    (print_json if as_json else print_details)(found)


def _declare(change: StatusChange) -> None:
    @shared_signals.command(change.name, help=f"{change.help} The receiver is told, and may set the status again.")
    @_ID
    @click.option("--reason", default="", help="For the receiver.")
    @with_database
    async def set_status(stream_id: UUID, reason: str) -> None:
        from idp.events.ssf import streams

        await streams.set_status_of_any(stream_id, change.status, reason)
        click.echo(f"The stream {stream_id} is {change.status}.")


for _change in CHANGES:
    _declare(_change)


@shared_signals.command()
@_ID
@with_database
async def delete(stream_id: UUID) -> None:
    """Delete a stream, and give up what waits. Its receiver may create another one; to stop it, disable the client."""
    from idp.events.ssf import streams

    await streams.delete_any(stream_id)
    click.echo(f"The stream {stream_id} is deleted.")
