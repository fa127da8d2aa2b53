"""Whose branding a screen is of: the server's, a client's or an organization's."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from litestar import Response

from idp.admin.access import check_client
from idp.admin.console.components import one
from idp.admin.console.organizations import ONE, organization
from idp.admin.console.screen import HOME, AdminRequest, Screen, screen
from idp.admin.roles import Permission
from idp.branding.models import SERVER, Owner
from idp.oauth.clients.path_ids import path_id
from idp.oauth.clients.repository import CLIENTS, flat


class Subject(NamedTuple):
    """An owner.

    Attributes:
        name: for headings.
        path: that of its branding, after ``/admin``.
        back: the screen of the owner.
    """

    owner: Owner
    name: str
    section: str
    path: str
    back: str
    may_write: bool

    @property
    def named(self) -> dict[str, str]:
        """The facts that name it on confirmation pages."""
        of_client = {"client_id": self.owner.client_id} if self.owner.client_id is not None else {}
        return {"Branding of": self.name} | of_client


class _Kind(NamedTuple):
    name: str
    path: str
    read: Permission
    write: Permission
    find: Callable[[AdminRequest], Awaitable[tuple[Owner, str, str, str]]]


async def _server(_request: AdminRequest) -> tuple[Owner, str, str, str]:
    return SERVER, "the server", "branding", ""


async def _client(request: AdminRequest) -> tuple[Owner, str, str, str]:
    row = flat(await one(CLIENTS, client_id=request.params["client_id"]))
    if request.http.method == "POST":
        await check_client(request.caller, row["client_id"])
    return Owner(client_id=row["client_id"]), row["client_name"], "clients", f"/clients/{path_id(row['client_id'])}"


async def _organization(request: AdminRequest) -> tuple[Owner, str, str, str]:
    row = await organization(request)
    return Owner(organization_id=row["id"]), row["name"], "organizations", f"/organizations/{row['id']}"


_KINDS = (
    _Kind("server", "", Permission.BRANDING_READ, Permission.BRANDING_WRITE, _server),
    _Kind("client", "/clients/{client_id}", Permission.CLIENTS_READ, Permission.CLIENTS_WRITE, _client),
    _Kind("organization", ONE, Permission.ORGANIZATIONS_READ, Permission.ORGANIZATIONS_WRITE, _organization),
)

Branded = Callable[[AdminRequest, Subject], Awaitable[Response[Any]]]


def branding_screen(method: str, path: str = "", *, write: bool = True, **options: Any) -> Callable[[Branded], Branded]:
    """Declare a screen of the branding of each kind of owner.

    Args:
        path: the path after that of the branding.
        write: whether it needs the permission to change the owner.
        options: as of :func:`idp.admin.console.screen.screen`.
    """

    def declare(function: Branded) -> Branded:
        for kind in _KINDS:
            permission = kind.write if write else kind.read
            inside = path.replace("{version_id}", f"{{{kind.name}_version_id}}")
            screen(method, f"{kind.path}/branding{inside}", permission, **options)(_bound(kind, function))
        return function

    return declare


def _bound(kind: _Kind, function: Branded) -> Screen:
    async def bound(request: AdminRequest) -> Response[Any]:
        owner, name, section, back = await kind.find(request)
        may_write = kind.write in request.caller.allowed
        subject = Subject(owner, name, section, f"{back}/branding", f"{HOME}{back}", may_write)
        return await function(request, subject)

    bound.__name__ = f"{function.__name__}_{kind.read.value.split(':')[1]}"
    return bound


def entered(form: Mapping[str, str], name: str) -> str:
    """Return a field of a form without spaces around it."""
    return form.get(name, "").strip()
