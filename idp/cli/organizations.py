"""`idp organizations`: customers, departments or tenants, their members and roles."""

from typing import TYPE_CHECKING
from uuid import UUID

import rich_click as click

from idp.cli.database import with_database
from idp.cli.named_user import address_book
from idp.cli.options import yes_option
from idp.cli.organization_domains import COMMANDS as DOMAIN_COMMANDS
from idp.cli.organization_invitations import COMMANDS as INVITATION_COMMANDS
from idp.cli.organization_policies import COMMANDS as POLICY_COMMANDS
from idp.cli.output import json_option, print_details, print_json, print_table
from idp.errors import NotFoundError

if TYPE_CHECKING:
    from idp.directory.models import Organization, Role


class UnknownNameError(NotFoundError):
    """No user has this email address, or the organization has no such role."""


@click.group()
def organizations() -> None:
    """The organisations, their members and roles. ORGANIZATION is a slug or an id."""


for _command in (*DOMAIN_COMMANDS, *INVITATION_COMMANDS, *POLICY_COMMANDS):
    organizations.add_command(_command)


@organizations.command()
@click.argument("slug")
@click.option("--name", required=True, help="Display name.")
@json_option
@with_database
async def create(slug: str, name: str, as_json: bool) -> None:
    """Create an organisation.

    SLUG names it in requests and never changes: 1 to 63 lower-case letters a to z, digits and hyphens.
    """
    from idp.directory import organizations as service

    _print(await service.create(slug, name), as_json)


def _print(organization: "Organization", as_json: bool) -> None:
    if as_json:
        print_json(organization)
        return
    print_details(
        {
            "id": organization.id,
            "slug": organization.slug,
            "name": organization.name,
            "since": organization.created_at,
            "disabled": organization.disabled_at,
        }
    )


@organizations.command("list")
@click.option("--user", help="Only organisations of the user with this email address.")
@json_option
@with_database
async def list_organizations(user: str | None, as_json: bool) -> None:
    """List the organisations, ordered by slug."""
    from idp.directory.models import Organization
    from idp.directory.repository.organizations import ORGANIZATIONS
    from idp.infra.db.listing import all_rows
    from idp.infra.db.rows import many

    filters = {} if user is None else {"user_id": str(await _user(user))}
    found = many(Organization, await all_rows(ORGANIZATIONS, filters))
    if as_json:
        print_json(found)
        return
    print_table(
        ("Slug", "Name", "Id", "Since", "Disabled"),
        [(each.slug, each.name, each.id, each.created_at, each.disabled_at) for each in found],
    )


@organizations.command()
@click.argument("organization")
@json_option
@with_database
async def show(organization: str, as_json: bool) -> None:
    """Show an organisation."""
    from idp.directory import organizations as service

    _print(await service.named(organization), as_json)


@organizations.command()
@click.argument("organization")
@click.argument("name")
@with_database
async def rename(organization: str, name: str) -> None:
    """Change the name of an organisation."""
    from idp.directory import organizations as service

    renamed = await service.rename((await service.named(organization)).id, name)
    click.echo(f"{renamed.slug} is named {renamed.name}.")


@organizations.command()
@click.argument("organization")
@with_database
async def disable(organization: str) -> None:
    """Disable an organisation: its memberships do not count until it is enabled."""
    from idp.directory import organizations as service

    found = await service.named(organization)
    await service.disable(found.id)
    click.echo(f"{found.slug} is disabled.")


@organizations.command()
@click.argument("organization")
@with_database
async def enable(organization: str) -> None:
    """Enable an organisation."""
    from idp.directory import organizations as service

    found = await service.named(organization)
    await service.enable(found.id)
    click.echo(f"{found.slug} is enabled.")


@organizations.command()
@click.argument("organization")
@yes_option
@with_database
async def delete(organization: str, yes: bool) -> None:
    """Delete an organisation with its memberships and roles. The users stay."""
    from idp.directory import organizations as service

    found = await service.named(organization)
    if not yes:
        click.confirm(f"Delete {found.slug} ({found.name})?", abort=True)
    await service.delete(found.id)
    click.echo(f"{found.slug} is deleted.")


@organizations.command()
@click.argument("organization")
@json_option
@with_database
async def members(organization: str, as_json: bool) -> None:
    """List the members of an organisation."""
    from idp.directory import organizations as service
    from idp.directory.repository.organizations import MEMBERS
    from idp.infra.db.listing import all_rows

    found = await service.named(organization)
    rows = await all_rows(MEMBERS, {"organization_id": str(found.id)})
    columns = ("user_id", "email", "name", "admin", "origin", "created_at", "membership_disabled_at")
    if as_json:
        print_json([{name: row[name] for name in columns} for row in rows])
        return
    named = await address_book(row["origin"] for row in rows)
    print_table(
        ("Email address", "Name", "Admin", "Added by", "Since", "Disabled by its SCIM client", "Id"),
        [
            (row["email"], row["name"], row["admin"], named(row["origin"]), row["created_at"],
             row["membership_disabled_at"], row["user_id"])
            for row in rows
        ],
    )  # fmt: skip


@organizations.command("add-member")
@click.argument("organization")
@click.argument("emails", nargs=-1, required=True, metavar="EMAIL...")
@click.option("--admin", is_flag=True, help="They manage the organisation.")
@with_database
async def add_member(organization: str, emails: tuple[str, ...], admin: bool) -> None:
    """Add users to an organisation. All of them, or none."""
    from idp.directory import organizations as service
    from idp.infra.db.engine import transaction

    found = await service.named(organization)
    user_ids = [await _user(email) for email in emails]
    async with transaction():
        added = await service.add_members(found.id, user_ids)
        for user_id in sorted(user_ids) if admin else ():
            await service.set_admin(found.id, user_id, admin=True)
    click.echo(f"{added} added to {found.slug}.")


@organizations.command("set-admin")
@click.argument("organization")
@click.argument("email")
@click.option("--off", is_flag=True, help="They manage it no longer.")
@with_database
async def set_admin(organization: str, email: str, off: bool) -> None:
    """Let a member manage the organisation, or no longer."""
    from idp.directory import organizations as service

    found = await service.named(organization)
    await service.set_admin(found.id, await _user(email), admin=not off)
    click.echo(f"{email} manages {found.slug}{' no longer' if off else ''}.")


@organizations.command("reactivate-member")
@click.argument("organization")
@click.argument("email")
@with_database
async def reactivate_member(organization: str, email: str) -> None:
    """Let a membership count again that the SCIM client of the organisation disabled."""
    from idp.directory import member_states
    from idp.directory import organizations as service

    found = await service.named(organization)
    changed = await member_states.reactivate(found.id, await _user(email))
    click.echo(f"{email} {'is' if changed else 'was'} active in {found.slug}{'' if changed else ' already'}.")


@organizations.command("remove-member")
@click.argument("organization")
@click.argument("emails", nargs=-1, required=True, metavar="EMAIL...")
@with_database
async def remove_member(organization: str, emails: tuple[str, ...]) -> None:
    """Remove users from an organisation, with their roles there. All of them, or none."""
    from idp.directory import organizations as service
    from idp.oauth import sign_out  # noqa: F401 -- revokes what was issued for the memberships

    found = await service.named(organization)
    removed = await service.remove_members(found.id, [await _user(email) for email in emails])
    click.echo(f"{removed} removed from {found.slug}.")


@organizations.command("roles")
@click.argument("organization")
@json_option
@with_database
async def list_roles(organization: str, as_json: bool) -> None:
    """List the roles of an organisation."""
    from idp.directory import organizations as service
    from idp.directory.repository.roles import ROLES
    from idp.infra.db.listing import all_rows

    found = await service.named(organization)
    rows = await all_rows(ROLES, {"organization_id": str(found.id)})
    if as_json:
        print_json([{name: row[name] for name in ("id", "name", "description", "created_at")} for row in rows])
        return
    print_table(
        ("Name", "Description", "Id", "Since"),
        [(row["name"], row["description"], row["id"], row["created_at"]) for row in rows],
    )


@organizations.command("create-role")
@click.argument("organization")
@click.argument("name")
@click.option("--description", default="", help="For administrators.")
@with_database
async def create_role(organization: str, name: str, description: str) -> None:
    """Create a role of an organisation, which only its members can have."""
    from idp.directory import organizations as service
    from idp.directory import roles

    found = await service.named(organization)
    role = await roles.create(name, description=description, organization_id=found.id)
    click.echo(f"{found.slug} has the role {role.name}.")


@organizations.command("delete-role")
@click.argument("organization")
@click.argument("name")
@with_database
async def delete_role(organization: str, name: str) -> None:
    """Delete a role of an organisation. Everyone loses it."""
    from idp.directory import organizations as service
    from idp.directory import roles

    found = await service.named(organization)
    role = await _role(found, name)
    await roles.delete(role.id)
    click.echo(f"{found.slug} no longer has the role {role.name}.")


@organizations.command("give-role")
@click.argument("organization")
@click.argument("name")
@click.argument("emails", nargs=-1, required=True, metavar="EMAIL...")
@with_database
async def give_role(organization: str, name: str, emails: tuple[str, ...]) -> None:
    """Give members a role of the organisation. All of them, or none."""
    from idp.directory import organizations as service
    from idp.directory import roles

    found = await service.named(organization)
    role = await _role(found, name)
    given = await roles.give(role.id, [await _user(email) for email in emails])
    click.echo(f"{given} got the role {role.name} in {found.slug}.")


@organizations.command("take-role")
@click.argument("organization")
@click.argument("name")
@click.argument("emails", nargs=-1, required=True, metavar="EMAIL...")
@with_database
async def take_role(organization: str, name: str, emails: tuple[str, ...]) -> None:
    """Take a role of the organisation from members."""
    from idp.directory import organizations as service
    from idp.directory import roles

    found = await service.named(organization)
    role = await _role(found, name)
    taken = await roles.take(role.id, [await _user(email) for email in emails])
    click.echo(f"{taken} lost the role {role.name} in {found.slug}.")


async def _role(organization: "Organization", name: str) -> "Role":
    from idp.directory import names
    from idp.directory.repository.roles import role_by_name

    role = await role_by_name(None, names.key(name), organization.id)
    if role is None:
        raise UnknownNameError(f"{organization.slug} has no role with this name.")
    return role


async def _user(email: str) -> UUID:
    from idp.accounts.addresses import normalise_email
    from idp.accounts.repository.users import user_by_email

    user = await user_by_email(normalise_email(email))
    if user is None:
        raise UnknownNameError(f"There is no user with the address {email}.")
    return user.id
