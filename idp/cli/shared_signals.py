"""`idp shared-signals`: the streams of security events to clients."""

from uuid import UUID

import rich_click as click

from idp.cli.database import with_database
from idp.cli.output import json_option, print_json, print_table

STATUSES = ("enabled", "paused", "disabled")


@click.group("shared-signals")
def shared_signals() -> None:
    """The streams of security events that clients created (Shared Signals Framework)."""


@shared_signals.command("list")
@json_option
@with_database
async def list_streams(as_json: bool) -> None:
    """List the streams."""
    from idp.events.ssf.repository import streams

    found = await streams()
    if as_json:
        print_json(found)
        return
    print_table(
        ("Id", "Client", "Pushed to", "Status", "Events", "Description"),
        [(s.id, s.client_id, s.endpoint_url or "(polled)", s.status, s.events_requested, s.description) for s in found],
    )


@shared_signals.command("set-status")
@click.argument("stream_id", type=click.UUID)
@click.argument("status", type=click.Choice(STATUSES))
@click.option("--reason", default="", help="For the receiver.")
@with_database
async def set_status(stream_id: UUID, status: str, reason: str) -> None:
    """Pause, disable or enable a stream. Its receiver is told, and may enable it; to stop it, disable the client."""
    from idp.events.ssf import streams

    await streams.set_status_of(stream_id, status, reason)
    click.echo(f"The stream {stream_id} is {status}.")
