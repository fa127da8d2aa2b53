"""`idp token-hooks`: URLs that are asked before tokens of users are issued."""

from uuid import UUID

import rich_click as click

from idp.cli.database import with_database
from idp.cli.output import json_option, print_json, print_secret, print_table

_PLACES = ("access_token", "id_token", "userinfo", "introspection")
_IN = click.option(
    "--in", "places", multiple=True, type=click.Choice(_PLACES), help="What it is asked about. May be repeated."
)
_FAIL_OPEN = "If the hook fails: issue tokens without its claims, or none."


@click.group("token-hooks")
def token_hooks() -> None:
    """The URLs that are asked before tokens of users are issued.

    They add claims, or deny the tokens. A client with a hook of its own does not call the one of all others.
    """


@token_hooks.command()
@click.argument("url")
@click.option("--client", "client_id", help="The client. Default: every client without its own hook.")
@_IN
@click.option("--fail-open/--fail-closed", default=False, help=_FAIL_OPEN)
@json_option
@with_database
async def add(*, url: str, client_id: str | None, places: tuple[str, ...], fail_open: bool, as_json: bool) -> None:
    """Ask a URL before tokens are issued. The secret that signs the requests is shown once."""
    from idp.oauth.token_hook import registration

    chosen = places or registration.DEFAULT_PLACES
    hook_id, secret = await registration.add(client_id, url, places=chosen, fail_open=fail_open)
    print_secret({"id": str(hook_id), "secret": secret}, as_json)


@token_hooks.command("list")
@json_option
@with_database
async def list_hooks(as_json: bool) -> None:
    """List the token hooks."""
    import msgspec

    from idp.oauth.token_hook.models import TokenHook
    from idp.oauth.token_hook.repository import hooks

    names = TokenHook.__struct_fields__
    found = [TokenHook(**{name: getattr(each, name) for name in names}) for each in await hooks()]
    if as_json:
        print_json(msgspec.to_builtins(found))
        return
    print_table(
        ("Id", "Client", "URL", "Asked about", "If it fails", "Disabled"),
        [
            (h.id, h.client_id or "all others", h.url, h.places, "issued" if h.fail_open else "refused", h.disabled_at)
            for h in found
        ],
    )


@token_hooks.command()
@click.argument("hook_id", type=click.UUID)
@click.option("--url", help="The new URL.")
@_IN
@click.option("--fail-open/--fail-closed", default=None, help=_FAIL_OPEN)
@with_database
async def update(*, hook_id: UUID, url: str | None, places: tuple[str, ...], fail_open: bool | None) -> None:
    """Change a token hook. What is not given stays."""
    from idp.oauth.token_hook import registration

    await registration.update(hook_id, url=url, places=places or None, fail_open=fail_open)
    click.echo(f"The token hook {hook_id} is changed.")


@token_hooks.command("rotate-secret")
@click.argument("hook_id", type=click.UUID)
@json_option
@with_database
async def rotate_secret(hook_id: UUID, as_json: bool) -> None:
    """Make a new secret. The one before signs too for a time: IDP_WEBHOOK_SECRET_OVERLAP."""
    from idp.oauth.token_hook import registration

    print_secret({"id": str(hook_id), "secret": await registration.rotate_secret(hook_id)}, as_json)


@token_hooks.command()
@click.argument("hook_id", type=click.UUID)
@with_database
async def disable(hook_id: UUID) -> None:
    """Issue tokens without asking. A client with this hook does not call the one of all others either."""
    from idp.oauth.token_hook import registration

    await registration.set_enabled(hook_id, False)
    click.echo(f"The token hook {hook_id} is disabled.")


@token_hooks.command()
@click.argument("hook_id", type=click.UUID)
@with_database
async def enable(hook_id: UUID) -> None:
    """Ask it again, from now on."""
    from idp.oauth.token_hook import registration

    await registration.set_enabled(hook_id, True)
    click.echo(f"The token hook {hook_id} is enabled.")


@token_hooks.command()
@click.argument("hook_id", type=click.UUID)
@with_database
async def remove(hook_id: UUID) -> None:
    """Delete a token hook."""
    from idp.oauth.token_hook import registration

    await registration.remove(hook_id)
    click.echo(f"The token hook {hook_id} is deleted.")
