"""`idp id-jag`: identity assertions that clients get for other authorization servers."""

from typing import Any
from uuid import UUID

import rich_click as click

from idp.cli.database import with_database
from idp.cli.named_user import find_user
from idp.cli.options import given
from idp.cli.output import json_option, print_details, print_json, print_table


@click.group("id-jag")
def id_jag() -> None:
    """Identity assertions (ID-JAG): which clients get them, for which authorization servers, and about whom."""


@id_jag.command()
@click.argument("client_id")
@click.option("--audience", required=True, help="The issuer of the authorization server that they are for.")
@click.option("--audience-client-id", required=True, help="The client_id of the client there.")
@click.option("--relying-party", help="The client by which that server signs users in here, if there is one.")
@click.option("--resource", "resources", multiple=True, help="A resource there that may be named. Repeat it.")
@click.option("--scope", help="The scopes there that may be asked for, separated by spaces.")
@click.option("--email/--no-email", default=False, help="Whether the assertion has the address of the user.")
@click.option(
    "--email-domain", "email_domains", multiple=True, help="Only users with a verified address in this domain."
)
@click.option("--user", "user_ids", multiple=True, help="Only this user: an email address or an id. May be repeated.")
@click.option("--acr", help="The level that the sign-in must have reached: 2 for two factors, phr for a passkey.")
@json_option
@with_database
async def add(*, client_id: str, as_json: bool, **options: Any) -> None:
    """Let a client get identity assertions.

    CLIENT_ID is registered for the token-exchange grant.
    """
    import msgspec

    from idp.oauth.id_jag import registration

    options["user_ids"] = tuple([(await find_user(user)).id for user in options["user_ids"]])
    values = {name: value for name, value in given(options).items() if value is not None}
    policy = msgspec.to_builtins(await registration.add(client_id, **values))
    if as_json:
        print_json(policy)
    else:
        print_details(policy)


@id_jag.command("list")
@json_option
@with_database
async def list_policies(as_json: bool) -> None:
    """List the policies of all clients, newest last."""
    from idp.oauth.id_jag.repository import policies

    found = await policies()
    if as_json:
        print_json(found)
        return
    print_table(
        ("Id", "Client", "Audience", "Client there", "Resources", "Scope"),
        [
            (one.id, one.client_id, one.audience, one.audience_client_id, " ".join(one.resources), one.scope)
            for one in found
        ],
    )


@id_jag.command()
@click.argument("policy_id", type=click.UUID)
@with_database
async def remove(policy_id: UUID) -> None:
    """Remove a policy. Assertions that were issued stay valid until they expire."""
    from idp.oauth.id_jag import registration

    await registration.remove(policy_id)
    click.echo(f"The policy {policy_id} is removed.")
