"""`idp resources`: register and change resource servers."""

from collections.abc import Iterable
from typing import Any

import rich_click as click

from idp.cli.database import with_database
from idp.cli.options import SIGNING_ALGORITHM, given, together, yes_option
from idp.cli.output import json_option, print_details, print_json, print_table
from idp.keys.algorithms import DEFAULT_ALGORITHM


@click.group()
def resources() -> None:
    """The services that accept our access tokens (resource servers)."""


#: Resource server metadata that `create` and `update` accept.
_METADATA = together(
    click.option("--scope", help="Scopes of the resource server, separated by spaces."),
    click.option(
        "--scope-description", "scope_descriptions", multiple=True, metavar="SCOPE=TEXT",
        help="What a scope allows, as the consent page says it: 'orders:read=Read your orders'. May be repeated.",
    ),
    click.option(
        "--alg", "access_token_signed_response_alg", type=SIGNING_ALGORITHM,
        help=f"Algorithm that signs access tokens. Default: {DEFAULT_ALGORITHM}.",
    ),
    click.option(
        "--token-type", "access_token_type", type=click.Choice(["at+jwt", "JWT"]),
        help="The typ of access tokens: at+jwt (RFC 9068), or JWT if the validator refuses that.",
    ),
    click.option(
        "--self-registered-clients/--no-self-registered-clients", default=None,
        help="Whether clients that registered themselves get tokens for it, as an MCP server needs. Default: no.",
    ),
    click.option("--client-id", help="The client that introspects tokens for it."),
    click.option(
        "--witnessed/--not-witnessed", default=None, help="Whether new signing keys wait until it has fetched them."
    ),
    click.option(
        "--network", "networks", multiple=True,
        help="Network from which it fetches the common JWKS URL, such as 10.1.0.0/16. May be repeated.",
    ),
    click.option("--user-agent", help="Beginning of the User-Agent."),
)  # fmt: skip


@resources.command()
@click.argument("identifier", required=False)
@click.option("--name", help="The name that the consent page shows.")
@click.option(
    "--from-metadata", metavar="URL",
    help="Instead of IDENTIFIER: a running server, whose own metadata (RFC 9728) have its name and its scopes.",
)  # fmt: skip
@_METADATA
@json_option
@with_database
async def create(
    *, identifier: str | None, name: str | None, from_metadata: str | None, as_json: bool, **options: Any
) -> None:
    """Register a resource server.

    IDENTIFIER is the URI that clients send as `resource` and that tokens carry as `aud`.
    """
    from idp.admin.built_in import build_in
    from idp.oauth.clients import resource_metadata
    from idp.oauth.clients.registration import register_resource_server

    build_in()
    if (identifier is None) == (from_metadata is None):
        raise click.UsageError("Name IDENTIFIER or --from-metadata.")
    metadata = _metadata(options)
    if from_metadata is not None:
        published = await resource_metadata.fetch(from_metadata)
        identifier, name = published.identifier, name or published.name
        metadata = {"scope": published.scope} | metadata
    if identifier is None or name is None:
        raise click.UsageError("Missing option '--name'.")
    _print(await register_resource_server(identifier, name, **metadata), as_json)


@resources.command()
@click.argument("identifier")
@click.option("--name", help="The name that the consent page shows.")
@_METADATA
@json_option
@with_database
async def update(*, identifier: str, as_json: bool, **options: Any) -> None:
    """Change the metadata of a resource server.

    Options that are not given keep their value. An empty value, as in --network "", removes it.
    """
    from idp.oauth.clients.service import update_resource_server

    changes = _metadata(options)
    if not changes:
        raise click.UsageError("Name at least one option to change.")
    _print(await update_resource_server(identifier, **changes), as_json)


def _metadata(options: dict[str, Any]) -> dict[str, Any]:
    named = given(options)
    if named.get("scope", "") is None:
        named["scope"] = ""
    if "scope_descriptions" in named:
        named["scope_descriptions"] = _descriptions(named["scope_descriptions"] or ())
    return named


def _descriptions(entered: Iterable[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in entered]
    if any(not sign for _, sign, _ in pairs):
        raise click.UsageError("A description looks like 'orders:read=Read your orders'.")
    return {scope.strip(): text.strip() for scope, _, text in pairs}


def _print(server: Any, as_json: bool) -> None:
    import msgspec

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
    import msgspec

    from idp.oauth.clients.repository import stored_resource_servers

    found = [
        msgspec.structs.asdict(server) | {"jwks_uri": jwks_uri(server.jwks_id)}
        for server in await stored_resource_servers()
    ]
    if as_json:
        print_json(found)
        return
    print_table(
        ("Identifier", "Name", "Scope", "Algorithm", "Client", "JWKS URL"),
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
@yes_option
@with_database
async def delete(identifier: str, yes: bool) -> None:
    """Delete a resource server."""
    from idp.oauth.clients.repository import resource_servers
    from idp.oauth.clients.service import delete_resource_server

    found = next((server for server in await resource_servers() if server.identifier == identifier), None)
    if found is not None and not yes:
        click.confirm(f"Tokens for {found.name} are no longer issued. Delete it?", abort=True)
    await delete_resource_server(identifier)
    click.echo(f"The resource server {identifier} is deleted.")


def jwks_uri(jwks_id: str) -> str:
    """Return the resource server's own JWKS URL, by which its fetches are recognised."""
    from idp.settings import settings

    return f"{settings().issuer}/jwks/{jwks_id}"
