"""`idp organizations …-branding`: what pages and mails of organizations show."""

from typing import TYPE_CHECKING, Any, BinaryIO

import rich_click as click

from idp.cli.database import with_database
from idp.cli.output import json_option, print_details, print_json

if TYPE_CHECKING:
    from idp.directory.branding_models import Branding


@click.command()
@click.argument("organization")
@json_option
@with_database
async def branding(organization: str, as_json: bool) -> None:
    """Show the branding of an organisation."""
    from idp.directory import branding as service
    from idp.directory import organizations

    found = await service.branding_of((await organizations.named(organization)).id)
    if found is None:
        raise service.NoBrandingError
    _print(found, as_json)


def _print(branding: "Branding", as_json: bool) -> None:
    import msgspec

    from idp.directory.branding import logo_uri

    shown = msgspec.structs.asdict(branding) | {"logo_uri": logo_uri(branding)}
    left_out = ("organization_id", "logo_version", "updated_at")
    values = {name: value for name, value in shown.items() if name not in left_out}
    if as_json:
        print_json(values)
    else:
        print_details(values)


@click.command("set-branding")
@click.argument("organization")
@click.option("--display-name", help="The name on pages. By default that of the organisation.")
@click.option("--color", help='The colour of buttons and links, such as "#0f5568".')
@click.option("--logo-uri", help="The https URL of a logo.")
@click.option(
    "--logo",
    type=click.File("rb"),
    help="A file with a logo, to be served from here: PNG, JPEG, GIF or WebP.",
)
@click.option("--help-uri", help="The https URL of help.")
@click.option("--terms-uri", help="The https URL of terms.")
@click.option("--privacy-uri", help="The https URL of the privacy policy.")
@json_option
@with_database
async def set_branding(*, organization: str, logo: BinaryIO | None, as_json: bool, **values: Any) -> None:
    """Set the branding of an organisation, in place of the one that it has. An uploaded logo stays."""
    from idp.directory import branding as service
    from idp.directory import organizations
    from idp.infra.db.engine import transaction

    found = await organizations.named(organization)
    async with transaction():
        await service.set_branding(found.id, **values)
        if logo is not None:
            await service.save_logo(found.id, logo.read())
    saved = await service.branding_of(found.id)
    if saved is not None:
        _print(saved, as_json)


@click.command("remove-branding")
@click.argument("organization")
@with_database
async def remove_branding(organization: str) -> None:
    """Remove the branding of an organisation, with its logo."""
    from idp.directory import branding as service
    from idp.directory import organizations

    found = await organizations.named(organization)
    await service.remove_branding(found.id)
    click.echo(f"{found.slug} has no branding.")


COMMANDS = (branding, set_branding, remove_branding)
