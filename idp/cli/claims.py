"""`idp claims`: the claims that clients get about users."""

from typing import Any
from uuid import UUID

import rich_click as click

from idp.cli.database import with_database
from idp.cli.output import json_option, print_details, print_json, print_table

#: As in :mod:`idp.oauth.claims`, which is slow to import.
_SOURCES = ("groups", "roles", "organization", "attribute", "profile", "constant")
_PLACES = ("access_token", "id_token", "userinfo", "introspection")
_SHAPES = ("value", "spaces", "commas", "object")


@click.group()
def claims() -> None:
    """The claims that clients get about users in their tokens and responses."""


@claims.command()
@click.argument("claim")
@click.option("--client", "client_id", help="The client that gets it. Default: every client with the scope.")
@click.option("--scope", help="Scope that the claim requires. Default: none.")
@click.option("--source", "kind", type=click.Choice(_SOURCES), required=True, help="What it is made of.")
@click.option("--prefix", help="For groups: only names that begin with this.")
@click.option("--strip-prefix", is_flag=True, help="For groups: remove the prefix.")
@click.option("--group", "groups", multiple=True, help="For groups: only this group. May be repeated.")
@click.option(
    "--roles-of",
    type=click.Choice(["all", "server", "client"]),
    help="For roles: those of the whole server, of a client, or both (default).",
)
@click.option("--roles-client", help="For roles: the client. Default: the client that the token is for.")
@click.option(
    "--organization-member",
    type=click.Choice(["id", "slug", "name", "roles"]),
    help="For the organisation: only this member. Default: an object of all.",
)
@click.option("--attribute", help="The name of a declared attribute.")
@click.option("--profile-claim", help="The name of a claim of the profile, such as nickname.")
@click.option("--value", help="The text of a constant.")
@click.option(
    "--in",
    "places",
    type=click.Choice(_PLACES),
    multiple=True,
    default=("id_token", "userinfo"),
    help="Where it goes. May be repeated. Default: id_token and userinfo.",
)
@click.option(
    "--as",
    "shape",
    type=click.Choice(_SHAPES),
    default="value",
    help="A list or value (default); one text, joined by spaces or commas; or an object with roles, as of Keycloak.",
)
@json_option
@with_database
async def add(
    *,
    claim: str,
    client_id: str | None,
    scope: str | None,
    kind: str,
    places: tuple[str, ...],
    shape: str,
    as_json: bool,
    **fields: Any,
) -> None:
    """Put a claim into tokens and responses, for a client or for every client with a scope."""
    from idp.oauth.claims import registration
    from idp.oauth.claims.flat import source_of, summary

    mapping = await registration.add(
        client_id, claim=claim, scope=scope, source=source_of(kind, fields), places=places, shape=shape
    )
    if as_json:
        print_json(mapping)
    else:
        shown = {"id": mapping.id, "claim": claim, "source": summary(mapping.source), "in": mapping.places}
        print_details(shown)


@claims.command("list")
@click.option("--client", "client_id", help="Only mappings of this client.")
@json_option
@with_database
async def list_mappings(client_id: str | None, as_json: bool) -> None:
    """List the mappings, newest last."""
    from idp.oauth.claims.flat import summary
    from idp.oauth.claims.repository import mappings

    found = [each for each in await mappings() if client_id in (None, each.client_id)]
    if as_json:
        print_json(found)
        return
    print_table(
        ("Id", "Client", "Scope", "Claim", "Source", "In"),
        [
            (each.id, each.client_id or "all", each.scope or "", each.claim, summary(each.source), each.places)
            for each in found
        ],
    )


@claims.command()
@click.argument("mapping_id", type=click.UUID)
@with_database
async def remove(mapping_id: UUID) -> None:
    """Remove a mapping. Tokens that were issued keep their claims."""
    from idp.oauth.claims import registration

    await registration.remove(mapping_id)
    click.echo(f"The claim mapping {mapping_id} is removed.")


@claims.command()
@click.argument("client_id")
@click.argument("user")
@click.option("--scope", default="", help="The scopes of the request. Default: as of a request without scope.")
@click.option("--resource", multiple=True, help="A resource server of the request. May be repeated.")
@click.option("--claim", "names", multiple=True, help="A claim to explain even if nothing has it. May be repeated.")
@click.option("--ask-hook", is_flag=True, help="Call the token hook of the client too.")
@json_option
@with_database
async def preview(
    *,
    client_id: str,
    user: str,
    scope: str,
    resource: tuple[str, ...],
    names: tuple[str, ...],
    ask_hook: bool,
    as_json: bool,
) -> None:
    """Show what tokens of a client would say about a user, and why.

    Nothing is issued. USER is an email address or an id.
    """
    from idp.accounts.attributes.registry import attributes
    from idp.cli.named_user import find_user
    from idp.oauth.claims.preview import WORDS
    from idp.oauth.claims.preview import preview as preview_of
    from idp.oauth.clients.registry import registry

    await registry.load()
    await attributes.load()
    user_id = (await find_user(user)).id
    found = await preview_of(client_id, user_id, scope=scope.split(), resource=resource, names=names, ask_hook=ask_hook)
    if as_json:
        print_json(found)
        return
    shown: dict[str, Any] = {"scope": found.scope, "for": found.resource or "this server", "note": found.notes}
    if found.hook is not None:
        shown |= {"token hook": found.hook.result, "it said": found.hook.said, "tokens issued": found.hook.issued}
    print_details(shown)
    print_table(
        ("In", "Claim", "Value", "Why", "Source"),
        [(each.place, each.claim, each.value, WORDS[each.why], each.source or "") for each in found.explained],
    )
