"""What pages and mails show of an organization, and when.

With branding, an organization is visible: a request that names it shows its name before anybody has signed in
(``organization_branding_before_sign_in``). One without branding looks like one that does not exist.
"""

from typing import Any
from uuid import UUID

from idp.branding import service
from idp.branding.models import Brand, Owner
from idp.branding.registry import Layer, brands
from idp.directory import names
from idp.directory.models import Organization
from idp.directory.repository import organizations as repository
from idp.mail.brand import for_mail
from idp.settings import settings

_NONE = UUID(int=0)


async def brand_of(organization_id: UUID | None, client_id: str | None = None) -> Brand:
    """Return what a page or a mail shows: of the organization, unless it is disabled, and then of the client."""
    found = await repository.organization_by_id(organization_id) if organization_id is not None else None
    return brands.brand(client_id, await _layer(found) if organization_id is not None else None)


async def brand_named(slug_or_id: str | None, client_id: str | None = None) -> Brand:
    """Return what the first page of a sign-in shows, whose request names an organization.

    It shows that of the client if there is none, or if the operator shows it to members only.
    """
    if slug_or_id is None or not settings().organization_branding_before_sign_in:
        return brands.brand(client_id)
    found = await repository.organization_by_slug(slug_or_id)
    if found is None and names.is_id(slug_or_id):
        found = await repository.organization_by_id(UUID(slug_or_id))
    return brands.brand(client_id, await _layer(found))


async def mail_of(organization_id: UUID) -> dict[str, Any]:
    """Return the value ``brand`` of a mail of an organization, for :func:`idp.mail.outbox.queue`."""
    return {"brand": for_mail(await brand_of(organization_id))}


async def _layer(organization: Organization | None) -> Layer | None:
    # Read in any case, so that the time tells nobody whether an organization without branding exists.
    found = await service.current(Owner(organization_id=organization.id if organization is not None else _NONE))
    if organization is None or organization.disabled_at is not None or found is None or found.branding is None:
        return None
    return Layer("organization", organization.name, found.branding)
