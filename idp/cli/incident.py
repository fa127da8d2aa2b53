"""`idp incident`: the response to a compromised user, client, key or upstream. `idp contain` is the older name."""

from typing import TYPE_CHECKING

import rich_click as click

from idp.cli.database import with_database
from idp.cli.named_user import find_user
from idp.cli.options import KeyCommand, yes_option
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


@revoke.command()
@click.argument("user")
@_keep
@yes_option
@json_option
@with_database
async def user(*, user: str, keep_enabled: bool, yes: bool, as_json: bool) -> None:
    """Sign a user out everywhere, withdraw their consents and disable the account.

    USER is an email address or an id.
    """
    from idp.admin.incidents import contain_user

    found = await find_user(user)
    _ask(yes, f"All sessions, tokens and consents of {found.email} end now.")
    _print(await contain_user(found.id, disable=not keep_enabled, keep_owner=False), as_json)


@revoke.command()
@click.argument("client_id")
@_keep
@yes_option
@json_option
@with_database
async def client(*, client_id: str, keep_enabled: bool, yes: bool, as_json: bool) -> None:
    """Revoke all tokens and consents of a client and disable it."""
    from idp.admin.incidents import contain_client
    from idp.oauth.clients.repository import find_client

    found = await find_client(client_id)
    _ask(yes, f"All tokens and consents of {found.client_name} end now." if found else None)
    _print(await contain_client(client_id, disable=not keep_enabled), as_json)


@revoke.command(cls=KeyCommand)
@click.argument("kid")
@yes_option
@json_option
@with_database
async def key(kid: str, yes: bool, as_json: bool) -> None:
    """Remove a signing key from the JWKS. If it is active, another key signs from now on."""
    from idp.admin.incidents import contain_key
    from idp.keys.lifecycle import find_key

    found = await find_key(kid)
    if found is not None and found.revoked_at is not None:
        found = None
    _ask(yes, f"Tokens signed with this {found.state} {found.alg} key will be refused." if found else None)
    _print(await contain_key(kid), as_json)


@revoke.command()
@click.argument("upstream_id")
@yes_option
@json_option
@with_database
async def upstream(upstream_id: str, yes: bool, as_json: bool) -> None:
    """End the sessions and tokens of sign-ins with an upstream and disable it."""
    from idp.admin.incidents import contain_upstream
    from idp.federation.registry import load_stored

    found = next((each for each in await load_stored() if each.id == upstream_id), None)
    _ask(yes, f"All sessions and tokens of sign-ins with {found.name} end now." if found else None)
    _print(await contain_upstream(upstream_id), as_json)


def _ask(yes: bool, consequence: str | None) -> None:
    """Ask whether to go on. What is unknown has no consequence (None): it is refused without a question."""
    if consequence is not None and not yes:
        click.confirm(f"{consequence} Continue?", abort=True)


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
