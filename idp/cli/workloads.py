"""`idp workloads`: tokens of trusted issuers that authenticate clients."""

from typing import Any
from uuid import UUID

import rich_click as click

from idp.cli.database import with_database
from idp.cli.options import JSON_OBJECT
from idp.cli.output import json_option, print_details, print_json, print_table


@click.group()
def workloads() -> None:
    """Workload identity: clients that authenticate by a token of a trusted issuer, without a secret."""


@workloads.command()
@click.argument("client_id")
@click.option("--issuer", required=True, help="The iss of its tokens: an https URL, or spiffe:// and a trust domain.")
@click.option("--subject", required=True, help="Their sub; * stands for one part without colons and slashes.")
@click.option("--audience", help="Their only aud. Default: the issuer of this server.")
@click.option("--jwks-uri", help="URL of the keys of the issuer. Default: the URL in the discovery document.")
@click.option("--jwks", type=JSON_OBJECT, help="The keys of the issuer: a JWK Set, or the name of a file with one.")
@click.option(
    "--single-use/--reusable",
    default=True,
    help="Whether each token is accepted once (default), or until it expires.",
)
@json_option
@with_database
async def add(*, client_id: str, as_json: bool, **options: Any) -> None:
    """Let tokens of a trusted issuer authenticate a client.

    CLIENT_ID is registered with --auth-method workload_identity.
    """
    from idp.oauth.clients.workloads import registration

    given = {name: value for name, value in options.items() if value is not None}
    rule = await registration.add(client_id, **given)
    shown = {"id": rule.id, "issuer": rule.issuer, "subject": rule.subject, "audience": rule.audience}
    if as_json:
        print_json(shown)
    else:
        print_details(shown)


@workloads.command("list")
@json_option
@with_database
async def list_identities(as_json: bool) -> None:
    """List the rules of all clients, newest last."""
    from idp.oauth.clients.workloads.repository import identities

    found = await identities()
    if as_json:
        print_json(found)
        return
    print_table(
        ("Id", "Client", "Issuer", "Subject", "Audience", "Single use"),
        [(rule.id, rule.client_id, rule.issuer, rule.subject, rule.audience, rule.single_use) for rule in found],
    )


@workloads.command()
@click.argument("identity_id", type=click.UUID)
@with_database
async def remove(identity_id: UUID) -> None:
    """Remove a rule. Access tokens that were issued stay valid until they expire."""
    from idp.oauth.clients.workloads import registration

    await registration.remove(identity_id)
    click.echo(f"The workload identity {identity_id} is removed.")
