"""`idp webhooks`: URLs that get events."""

from uuid import UUID

import rich_click as click

from idp.cli.database import with_database
from idp.cli.output import json_option, print_json, print_secret, print_table

_EVENTS = click.option(
    "--event", "kinds", multiple=True, help="A kind of event, such as user_disabled; *: all. May be repeated."
)


@click.group()
def webhooks() -> None:
    """The URLs that get events (Standard Webhooks)."""


@webhooks.command()
@click.argument("url")
@_EVENTS
@click.option("--description", default="", help="For administrators.")
@click.option("--whole", is_flag=True, help="Send the whole rows of the audit trail, with addresses and details.")
@json_option
@with_database
async def add(*, url: str, kinds: tuple[str, ...], description: str, whole: bool, as_json: bool) -> None:
    """Send events to a URL. The secret that signs them is shown once."""
    from idp.events import webhooks as service

    webhook_id, secret = await service.add(url, kinds, description=description, whole=whole)
    print_secret({"id": str(webhook_id), "secret": secret}, as_json)


@webhooks.command("list")
@json_option
@with_database
async def list_webhooks(as_json: bool) -> None:
    """List the webhooks."""
    from idp.events.repository import webhooks as all_webhooks

    found = await all_webhooks()
    if as_json:
        print_json(found)
        return
    print_table(
        ("Id", "URL", "Description", "Events", "Whole rows", "Disabled"),
        [(w.id, w.url, w.description, w.kinds, w.whole, w.disabled_at) for w in found],
    )


@webhooks.command()
@click.argument("webhook_id", type=click.UUID)
@click.option("--url", help="The new URL. Deliveries that wait go there.")
@_EVENTS
@click.option("--description", help="For administrators.")
@click.option("--whole/--ids-only", default=None, help="Whether to send the whole rows of the audit trail.")
@with_database
async def update(
    *, webhook_id: UUID, url: str | None, kinds: tuple[str, ...], description: str | None, whole: bool | None
) -> None:
    """Change a webhook. What is not given stays."""
    from idp.events import webhooks as service

    await service.update(webhook_id, url=url, kinds=kinds or None, description=description, whole=whole)
    click.echo(f"The webhook {webhook_id} is changed.")


@webhooks.command("rotate-secret")
@click.argument("webhook_id", type=click.UUID)
@json_option
@with_database
async def rotate_secret(webhook_id: UUID, as_json: bool) -> None:
    """Make a new secret. The one before signs too for a time: IDP_WEBHOOK_SECRET_OVERLAP."""
    from idp.events import webhooks as service

    print_secret({"id": str(webhook_id), "secret": await service.rotate_secret(webhook_id)}, as_json)


@webhooks.command()
@click.argument("webhook_id", type=click.UUID)
@with_database
async def test(webhook_id: UUID) -> None:
    """Send an event of the type webhook_test. `idp deliveries list` shows the response."""
    from idp.events import webhooks as service

    click.echo(f"A running server sends it: idp deliveries show {await service.send_test(webhook_id)}")


@webhooks.command()
@click.argument("webhook_id", type=click.UUID)
@with_database
async def disable(webhook_id: UUID) -> None:
    """Send no more events, and give up those that wait."""
    from idp.events import webhooks as service

    await service.set_enabled(webhook_id, False)
    click.echo(f"The webhook {webhook_id} is disabled.")


@webhooks.command()
@click.argument("webhook_id", type=click.UUID)
@with_database
async def enable(webhook_id: UUID) -> None:
    """Send events again, from now on."""
    from idp.events import webhooks as service

    await service.set_enabled(webhook_id, True)
    click.echo(f"The webhook {webhook_id} is enabled.")


@webhooks.command()
@click.argument("webhook_id", type=click.UUID)
@with_database
async def remove(webhook_id: UUID) -> None:
    """Delete a webhook, and give up what waits."""
    from idp.events import webhooks as service

    await service.remove(webhook_id)
    click.echo(f"The webhook {webhook_id} is deleted.")
