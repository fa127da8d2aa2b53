"""`/admin/search`: one search over users, clients and other records."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

from litestar import Response

from idp.accounts.repository.users import USERS
from idp.admin.configuration import settings_in_effect
from idp.admin.console.components import Cell, Table, text
from idp.admin.console.screen import HOME, AdminRequest, render, screen
from idp.admin.console.settings import matches
from idp.admin.roles import Permission
from idp.directory.repository.groups import GROUPS
from idp.directory.repository.organizations import ORGANIZATIONS
from idp.directory.repository.roles import OWN_ROLES
from idp.infra.db.listing import InvalidQueryError, Listing, list_page
from idp.oauth.clients.path_ids import path_id
from idp.oauth.clients.repository import CLIENTS, RESOURCE_SERVERS, flat

#: Results of a kind. Its list shows more.
LIMIT = 5


class Kind(NamedTuple):
    """A kind of record that is found.

    Attributes:
        name: the screen with the list of all.
        listing: its filter ``q`` compares.
        columns: the headings of what ``row`` returns.
        row: returns the cells of a row, the first with a link.
    """

    name: str
    label: str
    permission: Permission
    listing: Listing
    columns: tuple[str, ...]
    row: Callable[[Mapping[str, Any]], list[Cell]]


def _of_client(row: Mapping[str, Any]) -> list[Cell]:
    client = flat(row)
    return [Cell(client["client_name"], f"{HOME}/clients/{path_id(row['client_id'])}"), Cell(row["client_id"])]


def _by_id(name: str, *members: str) -> Callable[[Mapping[str, Any]], list[Cell]]:
    def row(found: Mapping[str, Any]) -> list[Cell]:
        first, *more = members
        return [Cell(found[first], f"{HOME}/{name}/{found['id']}"), *(text(found[each]) for each in more)]

    return row


KINDS = (
    Kind("users", "Users", Permission.USERS_READ, USERS, ("Email", "Name"), _by_id("users", "email", "name")),
    Kind("clients", "Clients", Permission.CLIENTS_READ, CLIENTS, ("Name", "Client id"), _of_client),
    Kind(
        "resource_servers", "Resource servers", Permission.RESOURCE_SERVERS_READ, RESOURCE_SERVERS,
        ("Name", "Identifier"),
        lambda row: [Cell(row["name"], f"{HOME}/resource_servers/{row['jwks_id']}"), Cell(row["identifier"])],
    ),
    Kind("groups", "Groups", Permission.GROUPS_READ, GROUPS, ("Name", "In"), _by_id("groups", "name", "parent")),
    Kind("roles", "Roles", Permission.GROUPS_READ, OWN_ROLES, ("Name", "Client"), _by_id("roles", "name", "client_id")),
    Kind(
        "organizations", "Organisations", Permission.ORGANIZATIONS_READ, ORGANIZATIONS, ("Slug", "Name"),
        _by_id("organizations", "slug", "name"),
    ),
)  # fmt: skip


@screen("GET", "/search", None)
async def search(request: AdminRequest) -> Response[str]:
    asked = request.query.get("q", "").strip()
    tables = [await _found(kind, asked) for kind in KINDS if kind.permission in request.caller.allowed] if asked else []
    if asked and Permission.SETTINGS_READ in request.caller.allowed:
        tables.append(_settings(asked))
    shown = [each for each in tables if each is not None]
    return render(
        request, "record", heading="Search", query=asked, tables=shown,
        intro=_intro(asked, shown),
    )  # fmt: skip


def _intro(asked: str, shown: list[Table]) -> str:
    if not asked:
        return "Type the beginning of a name, an address or an id into the field above."
    return f"Results for “{asked}”." if shown else f"Nothing matches “{asked}”."


async def _found(kind: Kind, asked: str) -> Table | None:
    try:
        found = await list_page(kind.listing, {"q": asked}, limit=LIMIT)
    except InvalidQueryError:
        return None
    more = f"{HOME}/{kind.name}?{urlencode({'q': asked})}" if found.next_cursor else None
    return Table(kind.label, kind.columns, [kind.row(row) for row in found.rows], next=more) if found.rows else None


def _settings(asked: str) -> Table | None:
    found = [row for row in settings_in_effect() if matches(row, asked)]
    rows = [
        [Cell(row["name"], f"{HOME}/settings?{urlencode({'q': row['name']})}"), text(row["help"])]
        for row in found[:LIMIT]
    ]
    more = f"{HOME}/settings?{urlencode({'q': asked})}" if len(found) > LIMIT else None
    return Table("Settings", ("Name", "Meaning"), rows, next=more) if rows else None
