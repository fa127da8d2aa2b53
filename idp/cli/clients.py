"""`idp clients`: register and change OAuth clients."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import rich_click as click

from idp.cli.database import with_database
from idp.cli.options import SIGNING_ALGORITHM, given, together
from idp.cli.output import json_option, print_details, print_json, print_table, text
from idp.oauth.clients.auth_methods import AUTH_METHODS
from idp.oauth.clients.presets import KINDS

if TYPE_CHECKING:
    from idp.oauth.clients.models import StoredClient


@click.group()
def clients() -> None:
    """The applications that users sign in to."""


#: Client metadata that `create` and `update` accept.
_METADATA = together(
    click.option(
        "--auth-method", "token_endpoint_auth_method",
        type=click.Choice(AUTH_METHODS),
        help="How it authenticates. With none it has no secret.",
    ),
    click.option(
        "--strict-auth-method/--any-auth-method", "strict_auth_method", default=None,
        help="Whether its secret is accepted by that method only, or both in the header and in the body.",
    ),
    click.option("--redirect-uri", "redirect_uris", multiple=True, help="Redirect URI. May be repeated."),
    click.option(
        "--post-logout-redirect-uri", "post_logout_redirect_uris", multiple=True,
        help="Post-logout redirect URI. May be repeated.",
    ),
    click.option("--scope", help="The scopes that it may request, separated by spaces."),
    click.option("--grant-type", "grant_types", multiple=True, help="Instead of those of its type. May be repeated."),
    click.option(
        "--id-token-alg", "id_token_signed_response_alg", type=SIGNING_ALGORITHM,
        help="Algorithm that signs its ID tokens.",
    ),
    click.option("--client-uri", help="Its home page."),
    click.option("--logo-uri", help="Its logo, for the sign-in page."),
    click.option("--policy-uri", help="Its privacy policy."),
    click.option("--tos-uri", help="Its terms of service."),
    click.option(
        "--skip-consent/--ask-consent", default=None,
        help="Whether to skip the consent page, for your own application.",
    ),
    click.option(
        "--acr", "default_acr_values", multiple=True, type=click.Choice(["1", "2", "phr", ""]), metavar="[1|2|phr]",
        help="The level that its users must reach: 2 for two factors, phr for a passkey.",
    ),
    click.option(
        "--upstream", "upstreams", multiple=True,
        help="An upstream that its users may sign in with. May be repeated. Default: all.",
    ),
    click.option(
        "--authorization-challenge/--no-authorization-challenge", default=None,
        help="Your own app, with its own sign-in screens, at the challenge endpoint.",
    ),
    click.option(
        "--single-session/--many-sessions", default=None,
        help="Whether a new sign-in ends the user's earlier ones at this client.",
    ),
    click.option(
        "--refresh-token-cookie/--no-refresh-token-cookie", default=None,
        help="Its refresh token is delivered in a cookie that no script can read.",
    ),
    click.option(
        "--pkce/--no-pkce", "require_pkce", default=None,
        help="Whether it must use PKCE (default). Off only for a client with a secret whose library sends none.",
    ),
    click.option(
        "--scope-claims-in-id-token/--no-scope-claims-in-id-token", default=None,
        help="Whether ID tokens contain the claims of the scopes, for libraries that never call userinfo.",
    ),
)  # fmt: skip


@clients.command()
@click.option("--name", "client_name", required=True, help="The name that pages show.")
@click.option(
    "--type", "kind", type=click.Choice(list(KINDS)), default="web", show_default=True,
    help="web: has a server; spa: runs in a browser; native: on a phone or desktop; service: without users.",
)  # fmt: skip
@_METADATA
@click.option("--id", "client_id", help="A client_id of your choice.")
@json_option
@with_database
async def create(*, kind: str, client_id: str | None, as_json: bool, **options: Any) -> None:
    """Register a client. Its secret is shown once; only its hash is stored."""
    from idp.oauth.clients.registration import register_client

    client, secret = await register_client(client_id, **KINDS[kind] | _metadata(options))
    shown = {"client_id": client.client_id} | ({"client_secret": secret} if secret else {})
    _print_secret(shown, as_json)


@clients.command()
@click.argument("client_id")
@click.option("--name", "client_name", help="The name that pages show.")
@_METADATA
@json_option
@with_database
async def update(client_id: str, as_json: bool, **options: Any) -> None:
    """Change the metadata of a client.

    Options that are not given keep their value. An empty value, as in --tos-uri "", removes it.
    """
    from idp.oauth.clients.service import update_client

    changes = _metadata(options)
    if not changes:
        raise click.UsageError("Name at least one option to change.")
    client = await update_client(client_id, **changes)
    await _show(client_id, as_json)
    if client.has_secret and client.client_secret_hash is None:
        click.echo(f"It has no secret yet. Make one: idp clients rotate-secret {client_id}", err=True)


def _metadata(options: dict[str, Any]) -> dict[str, Any]:
    named = given(options)
    if named.get("scope", "") is None:
        named["scope"] = ""
    if named.get("upstreams") == ():
        named["upstreams"] = None
    return named


@clients.command("list")
@json_option
@with_database
async def list_clients(as_json: bool) -> None:
    """List the clients, newest last."""
    from idp.oauth.clients import repository

    found = await repository.clients()
    if as_json:
        print_json([_plain(client) for client in found])
        return
    print_table(
        ("Client id", "Name", "Application", "Authentication", "Grants", "Disabled"),
        [
            (
                client.client_id,
                client.client_name,
                client.application_type,
                client.token_endpoint_auth_method,
                client.grant_types,
                client.disabled_at,
            )
            for client in found
        ],
    )


@clients.command()
@click.argument("client_id")
@json_option
@with_database
async def show(client_id: str, as_json: bool) -> None:
    """Show the metadata of a client. Its secret is not stored and cannot be shown."""
    await _show(client_id, as_json)


async def _show(client_id: str, as_json: bool) -> None:
    from idp.oauth.clients import repository
    from idp.oauth.clients.registration import UnknownClientError

    found = await repository.find_client(client_id)
    if found is None:
        raise UnknownClientError("There is no client with this id.")
    if as_json:
        print_json(_plain(found))
    else:
        print_details(_plain(found))


@clients.command()
@click.argument("client_id")
@with_database
async def disable(client_id: str) -> None:
    """Disable a client and revoke all tokens issued to it."""
    from idp.oauth.clients.registration import disable_client

    await _tell(client_id, await disable_client(client_id), "is disabled", "was disabled already")


@clients.command()
@click.argument("client_id")
@with_database
async def enable(client_id: str) -> None:
    """Enable a client. Its users have to sign in again."""
    from idp.oauth.clients.registration import enable_client

    await _tell(client_id, await enable_client(client_id), "is enabled", "was not disabled")


@clients.command("rotate-secret")
@click.argument("client_id")
@json_option
@with_database
async def rotate_client_secret(client_id: str, as_json: bool) -> None:
    """Replace the secret of a client. The new one is shown once; the old one stops working immediately."""
    from idp.oauth.clients.registration import rotate_secret

    secret = await rotate_secret(client_id)
    _print_secret({"client_id": client_id, "client_secret": secret}, as_json)


@clients.command("not-before")
@click.argument("client_id", required=False)
@click.option("--all", "everybody", is_flag=True, help="Of all clients.")
@click.option("--at", type=click.DateTime(["%Y-%m-%dT%H:%M:%S"]), help="A time in UTC; by default now.")
@with_database
async def not_before(client_id: str | None, everybody: bool, at: datetime | None) -> None:
    """Reject a client's tokens of before a time. The time can only move forward."""
    from idp import clock
    from idp.oauth.clients.service import set_not_before

    if everybody == (client_id is not None):
        raise click.UsageError("Name a client, or use --all.")
    moment = at.replace(tzinfo=UTC) if at else clock.now()
    await set_not_before(client_id, moment)
    click.echo(f"Tokens issued to {client_id or 'any client'} before {text(moment)} are rejected.")


@clients.command("admin-role")
@click.argument("client_id")
@click.argument("role", type=click.Choice(["owner", "key_admin", "client_admin", "support", "auditor", "none"]))
@with_database
async def admin_role(client_id: str, role: str) -> None:
    """Set the role of a client for its own access to the admin API."""
    from idp.oauth.clients.service import set_admin_role

    await set_admin_role(client_id, None if role == "none" else role)
    click.echo(f"The role of {client_id} is {role}.")


@clients.command()
@click.argument("client_id")
@click.confirmation_option(prompt="All its tokens and consents end. Delete it?")
@with_database
async def delete(client_id: str) -> None:
    """Delete a client and everything issued to it."""
    from idp.oauth.clients.service import delete_client

    await delete_client(client_id)
    click.echo(f"The client {client_id} is deleted.")


async def _tell(client_id: str, done: bool, did: str, nothing: str) -> None:
    from idp.oauth.clients import repository
    from idp.oauth.clients.registration import UnknownClientError

    if not done and await repository.find_client(client_id) is None:
        raise UnknownClientError("There is no client with this id.")
    click.echo(f"The client {client_id} {did if done else nothing}.")


def _plain(client: "StoredClient") -> dict[str, Any]:
    """Return the fields of a client without its secrets, its id first."""
    import msgspec

    from idp.oauth.clients.models import SECRETS

    fields = {name: value for name, value in msgspec.structs.asdict(client).items() if name not in SECRETS}
    return {"client_id": fields.pop("client_id")} | fields


def _print_secret(shown: dict[str, str], as_json: bool) -> None:
    if as_json:
        print_json(shown)
        return
    print_details(shown)
    if "client_secret" in shown:
        click.echo("The secret is shown only now. It cannot be shown again.", err=True)
