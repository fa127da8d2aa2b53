"""`idp resources`: the services that accept our access tokens."""

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
@json_option
@with_database
async def create(*, identifier: str, name: str, scope: str, alg: str, client_id: str | None, as_json: bool) -> None:
    """Register a resource server.

    IDENTIFIER is the URI that clients name as `resource`, and that tokens carry as `aud`.
    """
    import msgspec

    from idp.oauth.clients.registration import register_resource_server

    server = await register_resource_server(
        identifier, name, scope=scope, access_token_signed_response_alg=alg, client_id=client_id
    )
    if as_json:
        print_json(server)
    else:
        print_details(msgspec.structs.asdict(server))


@resources.command("list")
@json_option
@with_database
async def list_resources(as_json: bool) -> None:
    """List the resource servers."""
    from idp.oauth.clients.tables import resource_servers

    found = [dict(row) for row in await resource_servers()]
    if as_json:
        print_json(found)
        return
    print_table(
        ("Identifier", "Name", "Scope", "Algorithm", "Client"),
        [
            (row["identifier"], row["name"], row["scope"], row["access_token_signed_response_alg"], row["client_id"])
            for row in found
        ],
    )
