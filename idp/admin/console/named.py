"""Users, groups and roles as forms and tables name them."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from idp.accounts.addresses import InvalidEmailError, normalise_email
from idp.accounts.repository.users import emails_by_id, owner_of_email, user_by_email, user_by_id
from idp.accounts.tables import User
from idp.admin.console.components import Cell, Field
from idp.admin.console.screen import HOME, AdminRequest
from idp.admin.roles import Permission
from idp.directory import names
from idp.directory.models import Group, Role
from idp.directory.repository.groups import group_by_name
from idp.directory.repository.roles import role_by_name
from idp.errors import ValidationError
from idp.oauth.clients.path_ids import path_id
from idp.oauth.clients.registry import registry

#: Users that a form names at most.
MAX_USERS = 500
#: The id of no user.
_NOBODY = UUID(int=0)


def users_field(value: str) -> Field:
    return Field("users", "Users", value, "lines", "Their email addresses or ids, one per line.", required=True)


async def users(entered: str) -> list[UUID]:
    """Return the ids of users, each named by an email address or an id.

    Raises:
        ValidationError: one of them does not exist, there is none, or there are too many.
    """
    words = entered.split()
    if not 1 <= len(words) <= MAX_USERS:
        raise ValidationError(f"Enter 1 to {MAX_USERS} addresses or ids.")
    found = []
    for word in words:
        user = await _user(word)
        if user is None:
            raise ValidationError(f"There is no user with the address or id {word[:100]}.")
        found.append(user.id)
    return found


async def _user(word: str) -> User | None:
    try:
        return await (user_by_email(normalise_email(word)) if "@" in word else user_by_id(UUID(word)))
    except (InvalidEmailError, ValueError):
        return None


async def user_filter(entered: str) -> dict[str, str]:
    """Return the filter of a list for a user, named by an email address or an id; empty if none is named."""
    if not entered:
        return {}
    try:
        user_id = await owner_of_email(normalise_email(entered)) if "@" in entered else UUID(entered)
    except (InvalidEmailError, ValueError):
        user_id = None
    return {"user_id": str(user_id or _NOBODY)}


async def user_cells(request: AdminRequest, user_ids: Iterable[UUID | None]) -> Mapping[UUID | None, Cell]:
    """Return the address of each user with a link, or the id if the user is deleted or the caller may not see users."""
    wanted = {each for each in user_ids if each is not None}
    emails = await emails_by_id(wanted) if wanted and Permission.USERS_READ in request.caller.allowed else {}
    cells: dict[UUID | None, Cell] = {None: Cell("")}
    for each in wanted:
        cells[each] = Cell(emails[each], f"{HOME}/users/{each}") if each in emails else Cell(str(each))
    return cells


def group_field(label: str, value: str, help: str = "Its name.", *, required: bool = False) -> Field:
    return Field("group", label, value, help=help, required=required)


async def group(entered: str) -> Group:
    """Return the group with this name.

    Raises:
        ValidationError: there is none.
    """
    found = await group_by_name(names.key(entered.strip()))
    if found is None:
        raise ValidationError("There is no group with this name.")
    return found


def role_fields(values: Mapping[str, str]) -> list[Field]:
    return [
        Field("role", "Role", values.get("role", ""), help="Its name.", required=True),
        Field(
            "client_id", "Client", values.get("client_id", ""),
            help=(
                "The client_id of the application that the role belongs to. Leave empty for a role of the whole server."
            ),
        ),
    ]  # fmt: skip


async def role(form: Mapping[str, str]) -> Role:
    """Return the role that :func:`role_fields` name.

    Raises:
        ValidationError: there is none.
    """
    client_id = form.get("client_id", "").strip() or None
    found = await role_by_name(client_id, names.key(form.get("role", "").strip()))
    if found is None:
        raise ValidationError("There is no role with this name, of this client.")
    return found


def owner(client_id: str | None) -> Cell:
    """Return whose role it is: the name of the client with a link to it, or the server."""
    return client_cell(client_id) if client_id is not None else Cell("the whole server")


def client_cell(client_id: str | None) -> Cell:
    """Return the name of a client with a link; the client_id if it is not registered."""
    if client_id is None:
        return Cell("")
    client = registry.client(client_id)
    return Cell(client.client_name or client_id, f"{HOME}/clients/{path_id(client_id)}") if client else Cell(client_id)
