"""`idp users`: create and change users."""

import secrets
import sys
from typing import TYPE_CHECKING

import rich_click as click

from idp.cli.database import with_database
from idp.cli.named_user import find_user
from idp.cli.output import json_option, print_details, print_json, print_table
from idp.cli.users_changes import delete, show, sign_out, update
from idp.cli.users_export import export_command
from idp.cli.users_import import import_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from idp.directory.models import Named

#: Characters of a generated password, without those that look alike. 20 of them have more than 110 bits.
ALPHABET = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
GENERATED_LENGTH = 20

stdin_option = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
generate_option = click.option("--generate", is_flag=True, help="Generate a password and print it.")


@click.group()
def users() -> None:
    """The users."""


users.add_command(import_command)
users.add_command(export_command)
for command in (show, update, sign_out, delete):
    users.add_command(command)


@users.command()
@click.argument("email")
@click.option("--name", help="Full name.")
@json_option
@with_database
async def invite(*, email: str, name: str | None, as_json: bool) -> None:
    """Mail an invitation to create an account and print its link."""
    from idp.accounts import invitations
    from idp.cli.development import tell_without_mail
    from idp.mail import outbox

    link = await invitations.invite(email, name)
    await outbox.deliver_due()
    tell_without_mail()
    if as_json:
        print_json({"email": email, "link": link})
    else:
        print_details({"email": email, "link": link})


@users.command()
@click.argument("email")
@click.option("--name", help="Full name.")
@click.option("--given-name", help="First name.")
@click.option("--family-name", help="Last name.")
@click.option("--email-verified", is_flag=True, help="Mark the email address as verified.")
@stdin_option
@generate_option
@click.option("--no-mail", is_flag=True, help="Do not send the welcome mail.")
@json_option
@with_database
async def create(
    *,
    email: str,
    name: str | None,
    given_name: str | None,
    family_name: str | None,
    email_verified: bool,
    password_stdin: bool,
    generate: bool,
    no_mail: bool,
    as_json: bool,
) -> None:
    """Create a user. Prompts for the password by default."""
    from idp.accounts.addresses import normalise_email
    from idp.accounts.passwords import check_new_password
    from idp.accounts.users import create_user
    from idp.federation.linking import release_email
    from idp.infra.db.engine import transaction
    from idp.mail import outbox
    from idp.signin.factors.repository import delete_factors

    password = _new_password(password_stdin, generate)
    await check_new_password(password, user_inputs=[email, name or "", given_name or "", family_name or ""])
    async with transaction():
        await release_email(normalise_email(email), delete_factors)
        user = await create_user(
            email,
            password,
            name=name,
            given_name=given_name,
            family_name=family_name,
            email_verified=email_verified,
        )
        if not no_mail:
            await outbox.queue(user.email, "welcome", name=user.name)
    await outbox.deliver_due()
    shown = {"id": user.id, "email": user.email, "name": user.name}
    _print_with_password(shown, password if generate else None, as_json)


@users.command("list")
@click.option("--limit", default=100, show_default=True, help="Maximum number of users.")
@click.option("--search", help="Only users whose address, name or last name begins with this.")
@json_option
@with_database
async def list_users(limit: int, search: str | None, as_json: bool) -> None:
    """List the users, newest first."""
    from idp.accounts.repository.users import latest_users

    found = await latest_users(limit, search)
    if as_json:
        print_json(found)
        return
    print_table(
        ("Email", "Name", "Id", "Created", "Disabled"),
        [(user.email, user.name, user.id, user.created_at, user.disabled_at) for user in found],
    )


@users.command()
@click.argument("subject")
@click.option("--sector", help="Host of a sector that no client has now.")
@json_option
@with_database
async def identify(subject: str, sector: str | None, as_json: bool) -> None:
    """Find the user behind SUBJECT, the `sub` that a client knows. The audit trail records it."""
    from idp.admin.subjects import who_is

    user = await who_is(subject, sector)
    shown = {"id": user.id, "email": user.email, "name": user.name}
    print_json(shown) if as_json else print_details(shown)


@users.command()
@click.argument("user")
@with_database
async def disable(user: str) -> None:
    """Disable a user. USER is an email address or an id.

    All sessions of the user end and all their tokens are revoked.
    """
    from idp.accounts.users import disable_user
    from idp.oauth.credentials import credentials_changed

    found = await find_user(user)
    done = await disable_user(found.id, credentials_changed, keep_owner=False)
    click.echo(f"{found.email} is disabled." if done else f"{found.email} was disabled already.")


@users.command()
@click.argument("user")
@with_database
async def enable(user: str) -> None:
    """Enable a user. USER is an email address or an id."""
    from idp.accounts.users import enable_user

    found = await find_user(user)
    done = await enable_user(found.id)
    click.echo(f"{found.email} can sign in again." if done else f"{found.email} was not disabled.")


@users.command("set-password")
@click.argument("user")
@stdin_option
@generate_option
@click.option("--no-mail", is_flag=True, help="Do not notify the user by mail.")
@json_option
@with_database
async def set_password(user: str, password_stdin: bool, generate: bool, no_mail: bool, as_json: bool) -> None:
    """Set the password of a user. USER is an email address or an id.

    All sessions of the user end and all their tokens are revoked, including those for offline access.
    """
    from idp.accounts import users as service
    from idp.accounts.passwords import check_new_password
    from idp.infra.db.engine import transaction
    from idp.mail import outbox
    from idp.oauth.credentials import credentials_changed

    found = await find_user(user)
    password = _new_password(password_stdin, generate)
    await check_new_password(password, user_inputs=[found.email, found.name or ""])
    async with transaction():
        await service.set_password(found.id, password, credentials_changed)
        if not no_mail:
            await outbox.queue(found.email, "password_changed", language=found.locale, name=found.name)
    await outbox.deliver_due()
    if not as_json:
        click.echo(f"The password of {found.email} is changed. They are signed out everywhere.")
    _print_with_password({"id": found.id, "email": found.email}, password if generate else None, as_json)


@users.command("remove-factors")
@click.argument("user")
@with_database
async def remove_factors(user: str) -> None:
    """Remove the authenticator app, passkeys and recovery codes of a user who has lost them.

    USER is an email address or an id. All sessions of the user end. Verify the identity of the person who asks: the
    password alone is enough to sign in afterwards.
    """
    from idp.oauth.credentials import credentials_changed
    from idp.signin.factors import service as factors

    found = await find_user(user)
    if await factors.remove_all(found.id, credentials_changed):
        click.echo(f"{found.email} no longer has a second factor.")
    else:
        click.echo(f"{found.email} had no second factor.")


@users.command("show-attributes")
@click.argument("user")
@json_option
@with_database
async def show_attributes(user: str, as_json: bool) -> None:
    """Show the attributes of a user. USER is an email address or an id."""
    from idp.accounts.attributes.service import stored_values

    found = await stored_values((await find_user(user)).id)
    print_json(found) if as_json else print_details(found)


@users.command("set-attribute")
@click.argument("user")
@click.argument("name")
@click.argument("values", nargs=-1)
@with_database
async def set_attribute(user: str, name: str, values: tuple[str, ...]) -> None:
    """Set an attribute of a user to VALUES: one, several if it is multi-valued, or none to remove them.

    USER is an email address or an id. A date is 1990-12-31, a yes or no is true or false.
    """
    from idp.accounts.attributes import repository, service
    from idp.accounts.attributes.errors import UnknownAttributeError
    from idp.accounts.attributes.values import parse_each

    found = await find_user(user)
    attribute = next((one for one in await repository.attributes() if one.name == name), None)
    if attribute is None:
        raise UnknownAttributeError
    changed = await service.change(found.id, {name: parse_each(attribute, values)})
    click.echo(f"The {name} of {found.email} is {'changed' if changed else 'the same as before'}.")


@users.command()
@click.argument("user")
@json_option
@with_database
async def memberships(user: str, as_json: bool) -> None:
    """Show all groups and roles of a user, and why. USER is an email address or an id."""
    from idp.directory import why

    found = await why.explained((await find_user(user)).id)
    if as_json:
        print_json(found)
        return
    rows: list[tuple[object, ...]] = [
        ("group", each.name, None, _reasons(each.direct, each.through_groups)) for each in found.groups
    ]
    rows += [
        ("role", each.name, each.client_id, _reasons(each.direct, [*each.through_groups, *each.through_roles]))
        for each in found.roles
    ]
    print_table(("", "Name", "Client", "Why"), rows)


def _reasons(direct: bool, through: "Sequence[Named]") -> list[str]:
    return [*(["directly"] if direct else []), *(f"through {each.name}" for each in through)]


def _new_password(from_stdin: bool, generate: bool) -> str:
    """Read, generate or prompt for a password. It is never an argument: other processes can read arguments."""
    if from_stdin and generate:
        raise click.UsageError("Choose one of --password-stdin and --generate.")
    if generate:
        return "".join(secrets.choice(ALPHABET) for _ in range(GENERATED_LENGTH))
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask for the password: use --password-stdin or --generate.")
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return password


def _print_with_password(shown: dict[str, object], password: str | None, as_json: bool) -> None:
    if as_json:
        print_json(shown | ({"password": password} if password else {}))
        return
    print_details(shown | ({"password": password} if password else {}))
    if password:
        click.echo("The password is shown only now.", err=True)
