"""`idp initial-tokens`: initial access tokens, with which clients register themselves."""

from typing import Any
from uuid import UUID

import rich_click as click

from idp.cli.database import with_database
from idp.cli.options import DURATION
from idp.cli.output import json_option, print_json, print_secret, print_table


@click.group("initial-tokens")
def initial_tokens() -> None:
    """The tokens with which clients register themselves (RFC 7591: initial access tokens)."""


@initial_tokens.command()
@click.argument("name")
@click.option("--uses", type=int, default=1, show_default=True, help="Number of clients that can be registered.")
@click.option("--lifetime", type=DURATION, default="7d", show_default=True, help="Time after which it expires.")
@click.option("--scope", help="The scopes that the clients may request. Default: the standard scopes.")
@click.option(
    "--grant-type",
    "grant_types",
    multiple=True,
    help="A grant that the clients may have. May be repeated. Default: authorization_code and refresh_token.",
)
@click.option(
    "--redirect-host",
    "redirect_hosts",
    multiple=True,
    help="A host of their redirect URIs; .example.com: all hosts below it. May be repeated. Default: any.",
)
@click.option(
    "--pkce/--no-pkce",
    "require_pkce",
    default=True,
    help="Whether the clients must use PKCE (default). Those without a secret always must.",
)
@json_option
@with_database
async def create(*, name: str, uses: int, lifetime: int, as_json: bool, **options: Any) -> None:
    """Create an initial access token. It is shown once; only its hash is stored.

    NAME says who gets it, for administrators.
    """
    from idp.oauth.clients.dynamic import initial_tokens as service
    from idp.oauth.clients.dynamic.ceiling import Ceiling
    from idp.settings import settings

    scope = options.pop("scope")
    given = {key: value for key, value in options.items() if value != ()}
    if scope is not None:
        given["scopes"] = tuple(scope.split())
    id_, token = await service.create(name, Ceiling(**given), uses=uses, lifetime=lifetime)
    print_secret({"id": str(id_), "initial_access_token": token}, as_json)
    if not as_json and settings().client_registration == "off":
        click.echo("No client can use it yet: IDP_CLIENT_REGISTRATION is off.", err=True)


@initial_tokens.command("list")
@json_option
@with_database
async def list_tokens(as_json: bool) -> None:
    """List the initial access tokens, newest last."""
    from idp.oauth.clients.dynamic.repository import tokens

    found = await tokens()
    if as_json:
        print_json(found)
        return
    print_table(
        ("Id", "Name", "Uses left", "Expires", "Scopes", "Grants", "Redirect hosts"),
        [
            (
                *(token.id, token.name, token.uses_left, token.expires_at),
                *(token.ceiling.scopes, token.ceiling.grant_types, token.ceiling.redirect_hosts),
            )
            for token in found
        ],
    )


@initial_tokens.command()
@click.argument("token_id", type=click.UUID)
@with_database
async def delete(token_id: UUID) -> None:
    """Delete an initial access token. Clients that were registered with it stay."""
    from idp.oauth.clients.dynamic import initial_tokens as service

    await service.delete(token_id)
    click.echo(f"The initial access token {token_id} is deleted.")
