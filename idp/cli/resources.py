"""`idp resources`: the services that accept our access tokens."""

from typing import Any

import rich_click as click

from idp.cli.database import with_database
from idp.cli.options import SIGNING_ALGORITHM
from idp.cli.output import json_option, print_details, print_json, print_table


@click.group()
def resources() -> None:
    """The services that accept our access tokens (resource servers)."""


@resources.command()
@click.argument("identifier")
@click.option("--name", required=True, help="What the consent page calls it.")
@click.option("--scope", default="", help="The scopes that it defines, parted by spaces.")
@click.option(
    "--alg", type=SIGNING_ALGORITHM, default="RS256", show_default=True,
    help="Algorithm that signs its access tokens.",
)  # fmt: skip
@click.option("--client-id", help="The client that introspects tokens for it.")
@click.option("--not-witnessed", is_flag=True, help="New signing keys do not wait until it has fetched them.")
@click.option(
    "--network", "networks", multiple=True,
    help="Where it fetches the common JWKS URL from, as 10.1.0.0/16. May be repeated.",
)  # fmt: skip
@click.option("--user-agent", help="How its User-Agent begins there.")
@json_option
@with_database
async def create(*, identifier: str, name: str, alg: str, not_witnessed: bool, as_json: bool, **options: Any) -> None:
    """Register a resource server.

    IDENTIFIER is the URI that clients name as `resource`, and that tokens carry as `aud`.
    """
    import msgspec

    from idp.oauth.clients.registration import register_resource_server

    server = await register_resource_server(
        identifier, name, access_token_signed_response_alg=alg, witnessed=not not_witnessed, **options
    )
    shown = msgspec.structs.asdict(server) | {"jwks_uri": jwks_uri(server.jwks_id)}
    if as_json:
        print_json(shown)
    else:
        print_details(shown)


@resources.command("list")
@json_option
@with_database
async def list_resources(as_json: bool) -> None:
    """List the resource servers."""
    from idp.oauth.clients.tables import resource_servers

    found = [dict(row) | {"jwks_uri": jwks_uri(row["jwks_id"])} for row in await resource_servers()]
    if as_json:
        print_json(found)
        return
    print_table(
        ("Identifier", "Name", "Scope", "Algorithm", "Client", "Its JWKS URL"),
        [
            (
                *(row["identifier"], row["name"], row["scope"], row["access_token_signed_response_alg"]),
                *(row["client_id"], row["jwks_uri"]),
            )
            for row in found
        ],
    )


@resources.command()
@click.argument("identifier")
@click.confirmation_option(prompt="Tokens for it are not issued any more. Delete it?")
@with_database
async def delete(identifier: str) -> None:
    """Remove a resource server."""
    from idp.oauth.clients.changes import delete_resource_server

    await delete_resource_server(identifier)
    click.echo(f"The resource server {identifier} is deleted.")


def jwks_uri(jwks_id: str) -> str:
    """Where a resource server fetches the keys, so that we know that it has seen them."""
    from idp.settings import settings

    return f"{settings().issuer}/jwks/{jwks_id}"
