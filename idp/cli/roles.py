"""`idp roles`: roles, what they contain, and who has them."""

from typing import TYPE_CHECKING, Any

import rich_click as click

from idp.cli.database import with_database
from idp.cli.directory import client_option, count, find_role, find_users, first_rows, limit_option
from idp.cli.named_user import address_book
from idp.cli.options import yes_option
from idp.cli.output import json_option, print_details, print_json, print_table

if TYPE_CHECKING:
    from idp.directory.models import Role

_contained_option = click.option(
    "--contained-client", help='The client that CONTAINED is of; "": the whole server. Default: as ROLE.'
)


@click.group()
def roles() -> None:
    """Roles of clients and of the whole server. ROLE is a name or an id, USER an email address or an id.

    The roles of administrators of this server are those of `idp admins`.
    """


@roles.command("list")
@click.option("--name", help="Beginning of the name.")
@click.option("--client", "client_id", help="Only mappings of this client.")
@click.option("--server", is_flag=True, help="Only roles of the whole server.")
@click.option("--of", "user", metavar="USER", help="Only roles that this user was given.")
@limit_option
@json_option
@with_database
async def list_roles(
    *, name: str | None, client_id: str | None, server: bool, user: str | None, limit: int, as_json: bool
) -> None:
    """List roles by name."""
    from idp.directory.repository.roles import OWN_ROLES

    user_id = str((await find_users((user,)))[0]) if user is not None else None
    of_server = "true" if server else None
    found = await first_rows(OWN_ROLES, limit, q=name, client_id=client_id, server=of_server, user_id=user_id)
    if as_json:
        print_json(found)
        return
    print_table(
        ("Name", "Client", "Description", "Id"),
        [(row["name"], row["client_id"], row["description"], row["id"]) for row in found],
    )


@roles.command()
@click.argument("role")
@client_option
@json_option
@with_database
async def show(*, role: str, client_id: str | None, as_json: bool) -> None:
    """Show a role: what it contains, and which groups and how many users have it."""
    from idp.directory.repository.groups import GROUPS
    from idp.directory.repository.roles import contained_roles, count_holders

    found = await find_role(role, client_id)
    given = await first_rows(GROUPS, 1000, role_id=str(found.id))
    shown = _shown(found) | {
        "contains": [_named(each) for each in await contained_roles(found.id)],
        "groups": [row["name"] for row in given],
        "users": await count_holders(found.id),
    }
    print_json(shown) if as_json else print_details(shown)


def _named(role: "Role") -> str:
    return f"{role.name} ({role.client_id})" if role.client_id else role.name


def _shown(role: "Role") -> dict[str, Any]:
    return {
        "id": role.id,
        "name": role.name,
        "client_id": role.client_id,
        "organization_id": role.organization_id,
        "description": role.description,
        "created_at": role.created_at,
    }


@roles.command()
@click.argument("name")
@client_option
@click.option("--description", default="", help="What it allows, in one line.")
@json_option
@with_database
async def create(*, name: str, client_id: str | None, description: str, as_json: bool) -> None:
    """Create a role."""
    from idp.directory import roles as service

    shown = _shown(await service.create(name, client_id, description))
    print_json(shown) if as_json else print_details(shown)


@roles.command()
@click.argument("role")
@client_option
@click.option("--name", help="The new name.")
@click.option("--description", help="What it allows, in one line.")
@with_database
async def update(role: str, client_id: str | None, name: str | None, description: str | None) -> None:
    """Change the name or the description of a role."""
    from idp.directory import roles as service

    if name is None and description is None:
        raise click.UsageError("Name at least one option to change.")
    found = await find_role(role, client_id)
    changed = await service.update(found.id, name, description)
    click.echo(f"The role {changed.name} is changed.")


@roles.command()
@click.argument("role")
@client_option
@yes_option
@with_database
async def delete(role: str, client_id: str | None, yes: bool) -> None:
    """Delete a role. Everyone loses it."""
    from idp.directory import roles as service
    from idp.directory.repository.roles import count_holders

    found = await find_role(role, client_id)
    if not yes:
        holders = count(await count_holders(found.id), "user")
        click.confirm(f"{found.name} was given to {holders}, and perhaps to groups. Delete it?", abort=True)
    await service.delete(found.id)
    click.echo(f"The role {found.name} is deleted.")


@roles.command()
@click.argument("role")
@client_option
@limit_option
@json_option
@with_database
async def holders(*, role: str, client_id: str | None, limit: int, as_json: bool) -> None:
    """List the users who were given a role, without those who have it by a group or another role."""
    from idp.directory.repository.roles import HOLDERS

    found = await first_rows(HOLDERS, limit, role_id=str((await find_role(role, client_id)).id))
    if as_json:
        print_json(found)
        return
    named = await address_book(row["origin"] for row in found)
    print_table(
        ("Email", "Name", "Id", "Given", "By"),
        [(row["email"], row["name"], row["user_id"], row["created_at"], named(row["origin"])) for row in found],
    )


@roles.command()
@click.argument("role")
@click.argument("users", metavar="USER...", nargs=-1, required=True)
@client_option
@with_database
async def give(role: str, users: tuple[str, ...], client_id: str | None) -> None:
    """Give users a role."""
    from idp.directory import roles as service

    found = await find_role(role, client_id)
    number = await service.give(found.id, await find_users(users))
    click.echo(f"{found.name} is given to {count(number, 'user')}.")


@roles.command()
@click.argument("role")
@click.argument("users", metavar="USER...", nargs=-1, required=True)
@client_option
@with_database
async def take(role: str, users: tuple[str, ...], client_id: str | None) -> None:
    """Take a role from users."""
    from idp.directory import roles as service

    found = await find_role(role, client_id)
    number = await service.take(found.id, await find_users(users))
    click.echo(f"{found.name} is taken from {count(number, 'user')}.")


def _other(contained_client: str | None, client_id: str | None) -> str | None:
    return client_id if contained_client is None else contained_client or None


@roles.command()
@click.argument("role")
@click.argument("contained")
@client_option
@_contained_option
@with_database
async def contain(role: str, contained: str, client_id: str | None, contained_client: str | None) -> None:
    """Let a role contain another one: whoever has ROLE has CONTAINED too."""
    from idp.directory import roles as service

    outer, inner = await find_role(role, client_id), await find_role(contained, _other(contained_client, client_id))
    done = await service.contain(outer.id, inner.id)
    click.echo(f"{outer.name} {'contains' if done else 'contained'} {inner.name}{' now' if done else ''}.")


@roles.command()
@click.argument("role")
@click.argument("contained")
@client_option
@_contained_option
@with_database
async def release(role: str, contained: str, client_id: str | None, contained_client: str | None) -> None:
    """Let a role no longer contain another one."""
    from idp.directory import roles as service

    outer, inner = await find_role(role, client_id), await find_role(contained, _other(contained_client, client_id))
    done = await service.release(outer.id, inner.id)
    click.echo(f"{outer.name} {'no longer contains' if done else 'did not contain'} {inner.name}.")
