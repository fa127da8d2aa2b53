"""Operations on the branding of organizations."""

import msgspec

from idp.admin.api.models import organizations as models
from idp.admin.api.operation import Call, operation
from idp.admin.api.organizations import show_organization
from idp.admin.roles import Permission
from idp.directory import branding

_READ, _WRITE = Permission.ORGANIZATIONS_READ, Permission.ORGANIZATIONS_WRITE
_PATH = "/organizations/{organization_id}/branding"


@operation("GET", _PATH, _READ, "Show the branding of an organization", content=models.Branding)
async def show_branding(call: Call) -> models.Branding:
    organization = await show_organization(call)
    found = await branding.branding_of(organization.id)
    if found is None:
        return models.Branding(**dict.fromkeys(models.Branding.__struct_fields__))
    values = {name: getattr(found, name) for name in models.Branding.__struct_fields__}
    return models.Branding(**values | {"logo_uri": branding.logo_uri(found)})


@operation(
    "PUT", _PATH, _WRITE, "Set the branding of an organization; an uploaded logo stays",
    body=models.NewBranding, content=models.Branding, current=show_branding,
)  # fmt: skip
async def set_branding(call: Call) -> models.Branding:
    organization = await show_organization(call)
    await branding.set_branding(organization.id, call.current.updated_at, **msgspec.structs.asdict(call.body))
    return await show_branding(call)


@operation("DELETE", _PATH, _WRITE, "Remove the branding of an organization", current=show_branding)
async def remove_branding(call: Call) -> None:
    organization = await show_organization(call)
    await branding.remove_branding(organization.id, call.current.updated_at)
