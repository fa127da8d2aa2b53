"""How far an upstream of an organization is trusted: for addresses at the verified domains of this organization, and
for identities that it has linked itself.

All functions are called in the transaction of the sign-in. The organization is held before a user is locked
(docs/decisions/0050-lookups-and-lock-order.md), so that neither is deleted while its people sign in.
"""

from idp.directory.repository.organizations import keep_organization
from idp.federation import realms
from idp.federation.errors import ForeignAddressError, OrganizationUnavailableError
from idp.federation.linking import ExternalIdentity
from idp.federation.registry import upstreams


async def hold(identity: ExternalIdentity | None) -> None:
    """Hold the organization whose upstream confirmed an identity. Another upstream, or none, costs nothing.

    Raises:
        OrganizationUnavailableError: the organization was deleted or is disabled, or its upstream is.
    """
    if identity is None or identity.organization_id is None:
        return
    organization, upstream = await keep_organization(identity.organization_id), upstreams.get(identity.upstream_id)
    if organization is None or organization.disabled_at is not None:
        raise OrganizationUnavailableError("The organization was deleted or disabled.")
    if upstream is None or upstream.organization_id != organization.id:
        raise OrganizationUnavailableError("The upstream was deleted or disabled.")


async def check_address(identity: ExternalIdentity, email: str | None) -> None:
    """Check that the upstream of an identity may speak for an address, which stays so until the end of the transaction.

    Raises:
        ForeignAddressError: the upstream is that of an organization to which the domain of the address does not belong.
    """
    if identity.organization_id is None or email is None:
        return
    owner = await realms.owner_of(email, hold=True)
    if owner is None or owner.organization_id != identity.organization_id:
        raise ForeignAddressError("The address is not at a verified domain of the organization.")
