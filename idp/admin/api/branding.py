"""Operations on the branding of the server, of clients and of organizations."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import msgspec

from idp.admin.access import check_client
from idp.admin.api.applications import show_client
from idp.admin.api.models import branding as models
from idp.admin.api.operation import Call, operation
from idp.admin.api.organizations import show_organization
from idp.admin.roles import Permission
from idp.branding import service
from idp.branding.models import SERVER, Branding, Owner, Version
from idp.directory.names import is_id

#: Four pictures in base64, and the rest.
MAX_BODY = 640 * 1024
NIL = UUID(int=0)


async def _server(_call: Call) -> Owner:
    return SERVER


async def _client(call: Call) -> Owner:
    client = await show_client(call)
    if call.current is not None or call.params.get("version_id") is not None:
        await check_client(call.caller, client.client_id)
    return Owner(client_id=client.client_id)


async def _organization(call: Call) -> Owner:
    return Owner(organization_id=(await show_organization(call)).id)


def _shown(found: Version | None) -> models.Branding:
    branding = found.branding if found is not None and found.branding is not None else Branding()
    values = msgspec.to_builtins(msgspec.structs.asdict(branding)) | {"ways": list(branding.ways)}
    return models.Branding(updated_at=found.created_at if found is not None else None, **values)


def _listed(version: Version) -> models.BrandingVersion:
    values = {name: getattr(version, name) for name in ("id", "created_at", "replaced_at", "actor")}
    shown = service.shown(version.branding) if version.branding is not None else None
    return models.BrandingVersion(branding=shown, **values)


def _declare(
    base: str, name: str, of: str, *, read: Permission, write: Permission, owner: Callable[[Call], Awaitable[Owner]]
) -> None:
    """Declare the operations on the branding of one kind of owner."""
    path = f"{base}/branding"

    async def show(call: Call) -> models.Branding:
        return _shown(await service.current(await owner(call)))

    async def save(call: Call) -> models.Branding:
        values = msgspec.structs.asdict(call.body)
        await service.save(await owner(call), values, call.current.updated_at)
        return await show(call)

    async def remove(call: Call) -> None:
        await service.remove(await owner(call), call.current.updated_at)

    async def versions(call: Call) -> models.BrandingVersions:
        return models.BrandingVersions([_listed(each) for each in await service.history(await owner(call))])

    async def restore(call: Call) -> models.Branding:
        text = call.params["version_id"]
        # No version has the nil UUID. The authority over the owner is checked first.
        await service.restore(await owner(call), UUID(text) if is_id(text) else NIL)
        return await show(call)

    handlers = {
        f"show_{name}": show, f"set_{name}": save, f"remove_{name}": remove, f"list_{name}_versions": versions,
        f"restore_{name}": restore,
    }  # fmt: skip
    for label, handler in handlers.items():
        handler.__name__ = label
    operation("GET", path, read, f"Show the branding of {of}", content=models.Branding)(show)
    operation(
        "PUT", path, write, f"Set the branding of {of}",
        body=models.NewBranding, content=models.Branding, current=show, max_body=MAX_BODY,
    )(save)  # fmt: skip
    operation("DELETE", path, write, f"Remove the branding of {of}; its versions stay", current=show)(remove)
    operation(
        "GET", f"{path}/versions", read, f"List the versions of the branding of {of}", content=models.BrandingVersions
    )(versions)
    operation(
        "POST", f"{path}/versions/{{version_id}}/restore", write, f"Restore a version of the branding of {of}",
        content=models.Branding,
    )(restore)  # fmt: skip


_P = Permission
_declare("", "branding", "the server", read=_P.BRANDING_READ, write=_P.BRANDING_WRITE, owner=_server)
_declare(
    "/clients/{client_id}", "client_branding", "a client",
    read=_P.CLIENTS_READ, write=_P.CLIENTS_WRITE, owner=_client,
)  # fmt: skip
_declare(
    "/organizations/{organization_id}", "organization_branding", "an organization",
    read=_P.ORGANIZATIONS_READ, write=_P.ORGANIZATIONS_WRITE, owner=_organization,
)  # fmt: skip
