"""Groups, roles and users as the commands on groups and roles name them."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

import rich_click as click

from idp.ids import uuid_or_none

if TYPE_CHECKING:
    from idp.directory.models import Group, Role
    from idp.infra.db.listing import Listing

#: Rows that a command lists without ``--limit``.
LISTED = 100

client_option = click.option("--client", "client_id", help="The client that the role is of. Default: the whole server.")
limit_option = click.option(
    "--limit", type=click.IntRange(min=1), default=LISTED, show_default=True, help="Maximum number of rows."
)


async def find_group(group: str) -> "Group":
    """Return the group with a name or an id.

    Raises:
        UnknownGroupError: there is no such group.
    """
    from idp.directory import names
    from idp.directory.errors import UnknownGroupError
    from idp.directory.repository import groups

    found = await groups.group_by_name(names.key(group))
    if found is None and (group_id := uuid_or_none(group)) is not None:
        found = await groups.group_by_id(group_id)
    if found is None:
        raise UnknownGroupError
    return found


async def find_role(role: str, client_id: str | None) -> "Role":
    """Return the role with an id, or with a name: of a client, or of the whole server.

    Raises:
        UnknownRoleError: there is no such role.
    """
    from idp.directory import names
    from idp.directory.errors import UnknownRoleError
    from idp.directory.repository import roles

    found = await roles.role_by_name(client_id, names.key(role))
    if found is None and (role_id := uuid_or_none(role)) is not None:
        found = await roles.role_by_id(role_id)
    if found is None:
        raise UnknownRoleError
    return found


async def find_users(users: tuple[str, ...]) -> list[UUID]:
    """Return the ids of users, each named by an email address or an id.

    Raises:
        UnknownUserError: one of them does not exist.
    """
    from idp.cli.named_user import find_user

    return [(await find_user(user)).id for user in users]


async def first_rows(listing: "Listing", limit: int, **filters: str | None) -> list[dict[str, Any]]:
    """Return the first rows of a list, by the names of its columns. A filter that is None is left out."""
    from idp.infra.db.listing import MAX_LIMIT, list_page

    given = {name: value for name, value in filters.items() if value is not None}
    found: list[dict[str, Any]] = []
    cursor = None
    while len(found) < limit:
        page = await list_page(listing, given, cursor=cursor, limit=min(limit - len(found), MAX_LIMIT))
        found += [{name: row[name] for name in row.keys() if not name.startswith("_")} for row in page.rows]  # noqa: SIM118
        cursor = page.next_cursor
        if cursor is None:
            break
    return found


def count(number: int, what: str) -> str:
    """Return a number of things, such as ``1 member`` and ``2 members``."""
    return f"{number} {what}{'' if number == 1 else 's'}"
