"""`idp groups`: groups, who is in them, and the roles of all who are."""

from typing import TYPE_CHECKING, Any

import rich_click as click

from idp.cli.database import with_database
from idp.cli.directory import client_option, count, find_group, find_role, find_users, first_rows, limit_option
from idp.cli.groups_import import import_command
from idp.cli.named_user import address_book
from idp.cli.options import yes_option
from idp.cli.output import json_option, print_details, print_json, print_table

if TYPE_CHECKING:
    from idp.directory.models import Group


@click.group()
def groups() -> None:
    """Groups of users. GROUP is a name or an id, USER an email address or an id."""


groups.add_command(import_command)


@groups.command("list")
@click.option("--name", help="Beginning of the name.")
@click.option("--in", "parent", metavar="GROUP", help="Only groups in this group.")
@click.option("--of", "user", metavar="USER", help="Only groups that this user was added to.")
@limit_option
@json_option
@with_database
async def list_groups(*, name: str | None, parent: str | None, user: str | None, limit: int, as_json: bool) -> None:
    """List groups by name."""
    from idp.directory.repository.groups import GROUPS

    parent_id = str((await find_group(parent)).id) if parent is not None else None
    user_id = str((await find_users((user,)))[0]) if user is not None else None
    found = await first_rows(GROUPS, limit, q=name, parent_id=parent_id, user_id=user_id)
    if as_json:
        print_json(found)
        return
    print_table(
        ("Name", "In", "Description", "Id"),
        [(row["name"], row["parent"], row["description"], row["id"]) for row in found],
    )


@groups.command()
@click.argument("group")
@json_option
@with_database
async def show(*, group: str, as_json: bool) -> None:
    """Show a group: where it is, what is in it, and its roles."""
    from idp.directory.repository.groups import GROUPS, count_members
    from idp.directory.repository.roles import ROLES

    found = await find_group(group)
    inside = await first_rows(GROUPS, 1000, parent_id=str(found.id))
    given = await first_rows(ROLES, 1000, group_id=str(found.id))
    shown = await _shown(found) | {
        "groups": [row["name"] for row in inside],
        "members": await count_members(found.id),
        "roles": [_role(row) for row in given],
    }
    print_json(shown) if as_json else print_details(shown)


def _role(row: dict[str, Any]) -> str:
    return f"{row['name']} ({row['client_id']})" if row["client_id"] else str(row["name"])


async def _shown(group: "Group") -> dict[str, Any]:
    from idp.directory.repository.groups import names_of_groups

    names = await names_of_groups(group.path)
    return {
        "id": group.id,
        "name": group.name,
        "description": group.description,
        "above": [names[each] for each in group.path[:-1] if each in names],
        "created_at": group.created_at,
    }


@groups.command()
@click.argument("name")
@click.option("--description", default="", help="What it is for, in one line.")
@click.option("--in", "parent", metavar="GROUP", help="The parent group.")
@json_option
@with_database
async def create(*, name: str, description: str, parent: str | None, as_json: bool) -> None:
    """Create a group."""
    from idp.directory import groups as service

    parent_id = (await find_group(parent)).id if parent is not None else None
    shown = await _shown(await service.create(name, description, parent_id))
    print_json(shown) if as_json else print_details(shown)


@groups.command()
@click.argument("group")
@click.option("--name", help="The new name.")
@click.option("--description", help="What it is for, in one line.")
@with_database
async def update(group: str, name: str | None, description: str | None) -> None:
    """Change the name or the description of a group."""
    from idp.directory import groups as service

    if name is None and description is None:
        raise click.UsageError("Name at least one option to change.")
    found = await find_group(group)
    changed = await service.update(found.id, name, description)
    click.echo(f"The group {changed.name} is changed.")


@groups.command()
@click.argument("group")
@click.option("--in", "parent", metavar="GROUP", help="The group to put it into.")
@click.option("--to-top", is_flag=True, help="Into none.")
@with_database
async def move(group: str, parent: str | None, to_top: bool) -> None:
    """Put a group, with those in it, into another one."""
    from idp.directory import groups as service

    if (parent is None) != to_top:
        raise click.UsageError("Name --in GROUP or --to-top.")
    found = await find_group(group)
    above = await find_group(parent) if parent is not None else None
    await service.update(found.id, parent_id=above.id if above is not None else None)
    click.echo(f"{found.name} is in {above.name} now." if above is not None else f"{found.name} is in no group now.")


@groups.command()
@click.argument("group")
@yes_option
@with_database
async def delete(group: str, yes: bool) -> None:
    """Delete a group that has no others in it."""
    from idp.directory import groups as service
    from idp.directory.repository.groups import count_members

    found = await find_group(group)
    if not yes:
        members = count(await count_members(found.id), "member")
        click.confirm(f"{found.name} has {members}, who lose what follows from it. Delete it?", abort=True)
    members = count(await service.delete(found.id), "member")
    click.echo(f"The group {found.name} with {members} is deleted.")


@groups.command()
@click.argument("group")
@limit_option
@json_option
@with_database
async def members(*, group: str, limit: int, as_json: bool) -> None:
    """List the users who were added to a group, without those in the groups in it."""
    from idp.directory.repository.groups import MEMBERS

    found = await first_rows(MEMBERS, limit, group_id=str((await find_group(group)).id))
    if as_json:
        print_json(found)
        return
    named = await address_book(row["origin"] for row in found)
    print_table(
        ("Email", "Name", "Id", "Added", "By"),
        [(row["email"], row["name"], row["user_id"], row["created_at"], named(row["origin"])) for row in found],
    )


@groups.command("add-member")
@click.argument("group")
@click.argument("users", metavar="USER...", nargs=-1, required=True)
@with_database
async def add_member(group: str, users: tuple[str, ...]) -> None:
    """Add users to a group."""
    from idp.directory import groups as service

    found = await find_group(group)
    number = await service.add_members(found.id, await find_users(users))
    click.echo(f"{count(number, 'user')} added to {found.name}.")


@groups.command("remove-member")
@click.argument("group")
@click.argument("users", metavar="USER...", nargs=-1, required=True)
@with_database
async def remove_member(group: str, users: tuple[str, ...]) -> None:
    """Remove users from a group."""
    from idp.directory import groups as service

    found = await find_group(group)
    number = await service.remove_members(found.id, await find_users(users))
    click.echo(f"{count(number, 'user')} removed from {found.name}.")


@groups.command("give-role")
@click.argument("group")
@click.argument("role")
@client_option
@with_database
async def give_role(group: str, role: str, client_id: str | None) -> None:
    """Give a role to all who are in a group. ROLE is a name or an id."""
    from idp.directory import groups as service

    found, given = await find_group(group), await find_role(role, client_id)
    done = await service.give_role(found.id, given.id)
    click.echo(f"{found.name} has the role {given.name} now." if done else f"{found.name} had the role {given.name}.")


@groups.command("take-role")
@click.argument("group")
@click.argument("role")
@client_option
@with_database
async def take_role(group: str, role: str, client_id: str | None) -> None:
    """Take a role from a group. ROLE is a name or an id."""
    from idp.directory import groups as service

    found, taken = await find_group(group), await find_role(role, client_id)
    done = await service.take_role(found.id, taken.id)
    click.echo(f"{found.name} {'no longer has' if done else 'did not have'} the role {taken.name}.")
