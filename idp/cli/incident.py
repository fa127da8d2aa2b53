"""`idp incident`: the response to a compromised user, client, key or upstream. `idp contain` is the older name."""

from typing import TYPE_CHECKING

import rich_click as click

from idp.cli.database import with_database
from idp.cli.named_user import find_user
from idp.cli.options import KeyCommand
from idp.cli.output import json_option, print_json, print_table, text

if TYPE_CHECKING:
    from idp.admin.incidents import Report


@click.group()
def incident() -> None:
    """Respond to a compromised user, client, key or upstream."""


@incident.group()
def revoke() -> None:
    """End all sessions, tokens and consents of a compromised user, client, key or upstream."""


_keep = click.option(
    "--keep-enabled",
    is_flag=True,
    help="Do not disable the account or client, so that it can be used again immediately.",
)
_confirm = click.confirmation_option(prompt="All sessions, tokens and consents end now. Continue?")


@revoke.command()
@click.argument("user")
@_keep
@_confirm
@json_option
@with_database
async def user(user: str, keep_enabled: bool, as_json: bool) -> None:
    """Sign a user out everywhere, withdraw their consents and disable the account.

    USER is an email address or an id.
    """
    from idp.admin.incidents import contain_user

    _print(await contain_user((await find_user(user)).id, disable=not keep_enabled, keep_owner=False), as_json)


@revoke.command()
@click.argument("client_id")
@_keep
@_confirm
@json_option
@with_database
async def client(client_id: str, keep_enabled: bool, as_json: bool) -> None:
    """Revoke all tokens and consents of a client and disable it."""
    from idp.admin.incidents import contain_client

    _print(await contain_client(client_id, disable=not keep_enabled), as_json)


@revoke.command(cls=KeyCommand)
@click.argument("kid")
@_confirm
@json_option
@with_database
async def key(kid: str, as_json: bool) -> None:
    """Remove a signing key from the JWKS. If it is active, another key signs from now on."""
    from idp.admin.incidents import contain_key

    _print(await contain_key(kid), as_json)


@revoke.command()
@click.argument("upstream_id")
@_confirm
@json_option
@with_database
async def upstream(upstream_id: str, as_json: bool) -> None:
    """End the sessions and tokens of sign-ins with an upstream and disable it."""
    from idp.admin.incidents import contain_upstream

    _print(await contain_upstream(upstream_id), as_json)


def _print(report: "Report", as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    print_table(("Ended", "How many"), [(name.replace("_", " "), count) for name, count in report.ended.items()])
    if report.alone:
        click.echo(f"{report.alone} users have no other way to sign in.")
    for usable in report.still_usable:
        until = f"until {text(usable.until)}" if usable.until else "until they expire"
        click.echo(f"Still usable, {until}: {usable.what}." + "".join(f"\n  {place}" for place in usable.where))
    if not report.still_usable:
        click.echo("Nothing is still usable.")
