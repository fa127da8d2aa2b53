"""`idp admins`: the administrators of this server and their roles."""

from typing import TYPE_CHECKING

import rich_click as click

from idp.cli.database import with_database
from idp.cli.named_user import address_book
from idp.cli.options import ADMIN_ROLES
from idp.cli.output import json_option, print_json, print_table
from idp.errors import NotFoundError

if TYPE_CHECKING:
    from idp.accounts.tables import User

ROLES = click.Choice(ADMIN_ROLES)


class UnknownAdminError(NotFoundError):
    """No user has this email address, or the user does not have this role."""


@click.group()
def admins() -> None:
    """The administrators of this server and their roles."""


@admins.command("list")
@json_option
@with_database
async def list_admins(as_json: bool) -> None:
    """List the users that have a role."""
    from idp.accounts.repository.admin_roles import ADMINS
    from idp.infra.db.listing import MAX_LIMIT, list_page

    found = [dict(row) for row in (await list_page(ADMINS, limit=MAX_LIMIT)).rows]
    if as_json:
        print_json([{name: value for name, value in row.items() if not name.startswith("_")} for row in found])
        return
    named = await address_book(row["granted_by"] for row in found)
    print_table(
        ("Email address", "Role", "Given by", "Since"),
        [(row["email"], row["role"], named(row["granted_by"]), row["granted_at"]) for row in found],
    )


@admins.command()
@click.argument("email")
@click.option("--role", type=ROLES, default="owner", show_default=True, help="The role.")
@with_database
async def add(email: str, role: str) -> None:
    """Give a user a role. The first role given disables the set-up link in the log."""
    from idp.admin import setup
    from idp.admin.roles import Role
    from idp.infra.request_context import actor

    user = await _user(email)
    done = await setup.add_admin(user, Role(role), actor.get())
    click.echo(f"{user.email} is {role}{'' if done else ' already'}.")


@admins.command()
@click.argument("email")
@click.option("--role", type=ROLES, required=True, help="The role to revoke.")
@with_database
async def remove(email: str, role: str) -> None:
    """Remove a role from a user. The last owner cannot be removed."""
    from idp.admin.roles import Role, revoke

    user = await _user(email)
    if not await revoke(user.id, Role(role)):
        raise UnknownAdminError(f"{user.email} is not {role}.")
    click.echo(f"{user.email} no longer has the role {role}.")


async def _user(email: str) -> "User":
    from idp.accounts.addresses import normalise_email
    from idp.accounts.repository.users import user_by_email

    user = await user_by_email(normalise_email(email))
    if user is None:
        raise UnknownAdminError("There is no user with this email address.")
    return user
