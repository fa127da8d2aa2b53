"""`idp users show`, `update`, `sign-out` and `delete`."""

from typing import Any

import rich_click as click

from idp.accounts.claims import TEXT_CLAIMS
from idp.cli.database import with_database
from idp.cli.named_user import find_user
from idp.cli.options import yes_option
from idp.cli.output import json_option, print_details, print_json

#: The claims of the profile. The email address has an option of its own.
_CLAIMS = tuple(sorted(TEXT_CLAIMS - {"email"}))


def _profile_options(command: Any) -> Any:
    for name in reversed(_CLAIMS):
        command = click.option(f"--{name.replace('_', '-')}", name, help=f'The claim {name}. Give "" for none.')(
            command
        )
    return command


@click.command()
@click.argument("user")
@json_option
@with_database
async def show(user: str, as_json: bool) -> None:
    """Show a user: profile, ways to sign in, and live sessions. USER is an email address or an id."""
    import msgspec

    from idp.infra.db.listing import count_rows
    from idp.signin import limits
    from idp.signin.factors import passkeys, recovery_codes
    from idp.signin.factors import service as factors
    from idp.signin.repository.sessions import SESSIONS
    from idp.signin.transitions import Step

    found = await find_user(user)
    own = await factors.factors_of(found.id)
    shown: dict[str, Any] = {
        "id": found.id,
        "email": found.email,
        "email_verified": found.email_verified,
        **{name: found[name] for name in _CLAIMS},
        "address": msgspec.json.decode(found.address) if found.address else None,
        "password": found.password_hash is not None,
        "passkeys": [each.name for each in await passkeys.passkeys_of(found.id)],
        "authenticator_app": own is not None and Step.TOTP in own.has,
        "recovery_codes": await recovery_codes.count_unused(found.id),
        "two_step": found.two_step,
        "sessions": await count_rows(SESSIONS, {"user_id": str(found.id), "live": "true"}, limit=1000),
        "seconds_to_wait": round(await limits.wait_of_user(found.id, found.email)) or None,
        "origin": found.origin,
        "created_at": found.created_at,
        "disabled_at": found.disabled_at,
        "disabled_by": found.disabled_by,
    }
    print_json(shown) if as_json else print_details(shown)


@click.command()
@click.argument("user")
@click.option("--email", help="A new address. It is not verified, and sessions and tokens of the user end.")
@_profile_options
@with_database
async def update(user: str, email: str | None, **claims: str | None) -> None:
    """Change the address or the profile of a user. USER is an email address or an id."""
    import msgspec

    from idp.accounts import profile
    from idp.admin import user_accounts
    from idp.errors import VersionConflictError
    from idp.infra.db.engine import transaction
    from idp.mail import outbox

    found = await find_user(user)
    changed = {name: value for name, value in claims.items() if value is not None}
    if not changed and email is None:
        raise click.UsageError("Say what to change, such as --name.")
    address = msgspec.json.decode(found.address) if found.address else {}
    kept = {name: found[name] or "" for name in _CLAIMS} | {f"address.{name}": text for name, text in address.items()}
    async with transaction():
        if changed and not await profile.update_profile(found, kept | changed):
            raise VersionConflictError
        if email is not None:
            await user_accounts.change_email(found.id, email, by_owner=True)
    await outbox.deliver_due()
    click.echo(f"{found.email} is changed.")


@click.command("sign-out")
@click.argument("user")
@with_database
async def sign_out(user: str) -> None:
    """End all sessions of a user and revoke all tokens. USER is an email address or an id."""
    from idp.oauth.sign_out import sign_out_everywhere

    found = await find_user(user)
    await sign_out_everywhere(found.id, "signed_out_by_admin")
    click.echo(f"{found.email} is signed out everywhere.")


@click.command()
@click.argument("user")
@yes_option
@with_database
async def delete(user: str, yes: bool) -> None:
    """Delete a user with all data. USER is an email address or an id. The audit trail stays."""
    from idp.accounts.profile import delete_user
    from idp.oauth.sign_out import sign_out_for_deletion

    found = await find_user(user)
    if not yes:
        click.confirm(f"The account {found.email} and all its data are deleted. Continue?", abort=True)
    await delete_user(found.id, sign_out_for_deletion)
    click.echo(f"{found.email} is deleted.")
