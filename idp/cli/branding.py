"""`idp branding`: what pages and mails show."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import UUID

import rich_click as click

from idp.branding.models import CORNERS, FIELDS, FONTS, PICTURES, WAYS, Branding
from idp.cli.database import with_database
from idp.cli.output import json_option, print_details, print_json, print_table

if TYPE_CHECKING:
    from idp.branding.models import Owner

_HELP = {
    "display_name": "The name on pages and in mails.",
    "title": "The heading of the sign-in page.",
    "color": 'The colour of buttons and links, such as "#0f5568".',
    "dark_color": "That in the dark. By default a lighter one.",
    "background_color": "The colour of the page around its card.",
    "dark_background_color": "That in the dark.",
    "logo_uri": "The https URL of a logo.",
    "help_uri": "The https URL of help.",
    "support_uri": "The https URL where people ask you.",
    "privacy_uri": "The https URL of the privacy policy.",
    "terms_uri": "The https URL of terms.",
    "imprint_uri": "The https URL of the imprint.",
}
_FILES = {
    "logo": "A file with a logo: PNG, JPEG, GIF or WebP.",
    "dark_logo": "A file with the logo in the dark.",
    "favicon": "A file with the icon of the page.",
    "background": "A file with a picture behind the card.",
}
_owner_options = (
    click.option("--client", help="That of the client with this id."),
    click.option("--organization", help="That of the organisation with this slug or id."),
)

Command = Callable[..., Any]


def _of_owner(command: Command) -> Command:
    for option in reversed(_owner_options):
        command = option(command)
    return command


def _value_options(command: Command) -> Command:
    options = [click.option(f"--{name.replace('_', '-')}", help=text) for name, text in _HELP.items()]
    options += [
        click.option("--corners", type=click.Choice(list(CORNERS)), help="The corners of cards, fields and buttons."),
        click.option("--font", type=click.Choice(list(FONTS)), help="The kind of the font."),
        click.option(
            "--way", "ways", multiple=True, type=click.Choice(WAYS), help="A way to sign in that comes first."
        ),
    ]
    options += [
        click.option(f"--{name.replace('_', '-')}", type=click.File("rb"), help=text) for name, text in _FILES.items()
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.group()
def branding() -> None:
    """The look of pages and mails: of the server, or of a client or an organisation.

    A page shows each value of the organisation, else of the client, else of the server.
    """


@branding.command()
@_of_owner
@json_option
@with_database
async def show(client: str | None, organization: str | None, as_json: bool) -> None:
    """Show what is set."""
    await _print(await _owner(client, organization), as_json)


@branding.command("set")
@_of_owner
@_value_options
@click.option("--clear", multiple=True, help="A value to clear, such as dark-color.")
@json_option
@with_database
async def set_branding(
    *, client: str | None, organization: str | None, clear: tuple[str, ...], as_json: bool, **values: Any
) -> None:
    """Set the values that you name. The others stay."""
    import msgspec

    from idp.branding import service, validation

    owner = await _owner(client, organization)
    given = {name: _read(name, value) for name, value in values.items() if value}
    cleared = dict.fromkeys(name.replace("-", "_") for name in clear)
    found = await service.current(owner)
    before = msgspec.structs.asdict(found.branding or Branding()) if found is not None else {}
    if unknown := cleared.keys() - set(FIELDS):
        raise validation.InvalidBrandingError(f"There are no such values: {', '.join(sorted(unknown))}.")
    await service.save(owner, before | cleared | given, found.created_at if found is not None else None)
    await _print(owner, as_json)


def _read(name: str, value: Any) -> Any:
    """Return a value of the command line; a file as a ``data:`` URL."""
    from idp.branding import validation

    if name not in PICTURES:
        return value
    file: BinaryIO = value
    _, found = validation.picture(name, file.read(validation.MAX_BYTES[name] + 1))
    return validation.data_url(found)


@branding.command()
@_of_owner
@with_database
async def remove(client: str | None, organization: str | None) -> None:
    """Remove the branding. Its versions stay, and can be restored."""
    from idp.branding import service

    await service.remove(await _owner(client, organization))
    click.echo("Removed. Pages look as without it.")


@branding.command()
@_of_owner
@json_option
@with_database
async def history(client: str | None, organization: str | None, as_json: bool) -> None:
    """List the kept versions, the newest first."""
    from idp.branding import service

    found = await service.history(await _owner(client, organization))
    if as_json:
        print_json([{"id": each.id, "created_at": each.created_at, "actor": each.actor,
                     "branding": service.shown(each.branding) if each.branding is not None else None}
                    for each in found])  # fmt: skip
        return
    print_table(
        ("Version", "When", "Who", "Values"),
        [
            (each.id, each.created_at, each.actor, ", ".join(service.shown(each.branding)) or "removed")
            for each in found
        ],
    )


@branding.command()
@click.argument("version", type=click.UUID)
@_of_owner
@json_option
@with_database
async def restore(version: UUID, client: str | None, organization: str | None, as_json: bool) -> None:
    """Restore a version. `history` lists them."""
    from idp.branding import service

    owner = await _owner(client, organization)
    await service.restore(owner, version)
    await _print(owner, as_json)


async def _owner(client: str | None, organization: str | None) -> "Owner":
    from idp.branding.models import Owner
    from idp.branding.service import UnknownOwnerError
    from idp.directory import organizations
    from idp.oauth.clients.repository import find_client

    if client is not None and organization is not None:
        raise click.UsageError("Name a client or an organisation, not both.")
    if organization is not None:
        return Owner(organization_id=(await organizations.named(organization)).id)
    if client is not None and await find_client(client) is None:
        raise UnknownOwnerError
    return Owner(client_id=client)


async def _print(owner: "Owner", as_json: bool) -> None:
    from idp.branding import service

    values = service.shown(await service.branding_of(owner))
    if as_json:
        print_json(values)
    elif values:
        print_details(values)
    else:
        click.echo("There is no branding.")
