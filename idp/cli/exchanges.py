"""`idp token-exchange`: who may exchange which tokens (RFC 8693)."""

from typing import Any
from uuid import UUID

import rich_click as click

from idp.cli.database import with_database
from idp.cli.output import json_option, print_details, print_json, print_table


@click.group("token-exchange")
def token_exchange() -> None:
    """The policies of token exchange (RFC 8693)."""


@token_exchange.command()
@click.argument("client_id")
@click.option(
    "--mode",
    type=click.Choice(["delegation", "impersonation"]),
    default="delegation",
    help="Whether tokens name the actor (default), or not.",
)
@click.option("--resource", "resources", multiple=True, required=True, help="A resource server that tokens are for.")
@click.option("--scope", help="The scopes of the subject token that a token keeps.")
@click.option("--added-scope", help="Scopes that a token gets even if the subject token does not have them.")
@click.option(
    "--subject-token-type",
    "subject_token_types",
    multiple=True,
    type=click.Choice(["access_token", "id_token", "jwt"]),
    help="What may be exchanged; jwt: of trusted issuers. Default: access tokens.",
)
@click.option(
    "--subject-client",
    "subject_clients",
    multiple=True,
    help="A client whose tokens may be exchanged even if they are not meant for CLIENT_ID.",
)
@click.option("--user", "user_ids", multiple=True, help="The id of a user whose tokens may be exchanged. Default: all.")
@click.option("--max-lifetime", type=int, help="The longest lifetime of a token in seconds.")
@click.option(
    "--bearer-for-bound", is_flag=True, help="Exchange tokens that are bound to a key for tokens that are not."
)
@json_option
@with_database
async def add(*, client_id: str, as_json: bool, **options: Any) -> None:
    """Let a client exchange tokens.

    CLIENT_ID is registered with the grant urn:ietf:params:oauth:grant-type:token-exchange.
    """
    from idp.oauth.exchange import registration

    given = {name: value for name, value in options.items() if value not in (None, ())}
    policy = await registration.add(client_id, **given)
    shown = {"id": policy.id, "mode": policy.mode, "resources": policy.resources, "scope": policy.scope}
    if as_json:
        print_json(policy)
    else:
        print_details(shown)


@token_exchange.command("list")
@json_option
@with_database
async def list_policies(as_json: bool) -> None:
    """List the policies of all clients, newest last."""
    from idp.oauth.exchange.repository import policies

    found = await policies()
    if as_json:
        print_json(found)
        return
    print_table(
        ("Id", "Client", "Mode", "Resource servers", "Scope", "Added scope"),
        [
            (policy.id, policy.client_id, policy.mode, policy.resources, policy.scope, policy.added_scope)
            for policy in found
        ],
    )


@token_exchange.command()
@click.argument("policy_id", type=click.UUID)
@with_database
async def remove(policy_id: UUID) -> None:
    """Remove a policy. Access tokens that were issued stay valid until they expire."""
    from idp.oauth.exchange import registration

    await registration.remove(policy_id)
    click.echo(f"The policy {policy_id} is removed.")
