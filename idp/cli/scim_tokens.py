"""`idp scim-tokens`: tokens with which other systems manage users and groups."""

from uuid import UUID

import rich_click as click

from idp.cli.database import with_database
from idp.cli.options import DURATION
from idp.cli.output import json_option, print_json, print_secret, print_table


@click.group("scim-tokens")
def scim_tokens() -> None:
    """The tokens with which other systems manage users and groups (SCIM 2.0)."""


def _print_token(shown: dict[str, str], as_json: bool) -> None:
    from idp.settings import settings

    print_secret(shown, as_json)
    if not as_json and not settings().scim:
        click.echo("No system can use it yet: IDP_SCIM is off.", err=True)


@scim_tokens.command()
@click.argument("name")
@click.option("--organization", help="Only the members and roles of this organization: its slug or id.")
@click.option("--read-only", is_flag=True, help="Read users and groups only.")
@click.option("--lifetime", type=DURATION, default="366d", show_default=True, help="Time after which it expires.")
@json_option
@with_database
async def create(name: str, organization: str | None, read_only: bool, lifetime: int, as_json: bool) -> None:
    """Create a token. It is shown once; only its hash is stored.

    NAME says which system has it, for administrators.
    """
    from idp.directory import organizations
    from idp.scim import tokens as service

    of = (await organizations.named(organization)).id if organization is not None else None
    token_id, token = await service.create(name, writes=not read_only, lifetime=lifetime, organization_id=of)
    _print_token({"id": str(token_id), "token": token}, as_json)


@scim_tokens.command("list")
@json_option
@with_database
async def list_tokens(as_json: bool) -> None:
    """List the tokens, newest last."""
    from idp.scim.repository.tokens import tokens

    found = await tokens()
    if as_json:
        print_json(found)
        return
    print_table(
        ("Id", "Name", "Organization", "Writes", "Expires", "The value before until", "Last used"),
        [(t.id, t.name, t.organization, t.writes, t.expires_at, t.old_expires_at, t.last_used_at) for t in found],
    )


@scim_tokens.command()
@click.argument("token_id", type=click.UUID)
@click.option("--lifetime", type=DURATION, default="366d", show_default=True, help="Time after which it expires.")
@click.option(
    "--overlap", type=DURATION, default="7d", show_default=True, help="Time for which the old value is valid."
)
@json_option
@with_database
async def rotate(token_id: UUID, lifetime: int, overlap: int, as_json: bool) -> None:
    """Make a new value. The one before stays valid for a time, any older one ends."""
    from idp.scim import tokens as service

    token = await service.rotate(token_id, lifetime=lifetime, overlap=overlap)
    _print_token({"id": str(token_id), "token": token}, as_json)


@scim_tokens.command()
@click.argument("token_id", type=click.UUID)
@with_database
async def delete(token_id: UUID) -> None:
    """Delete a token. The users, groups and members that it added stay."""
    from idp.scim import tokens as service

    await service.delete(token_id)
    click.echo(f"The SCIM token {token_id} is deleted.")
