"""How far an upstream of an organization is trusted: for accounts with an address at a verified domain of this
organization now, and never for administrators of the server.

All functions are called in the transaction of the sign-in. The organization is held before a user is locked
(docs/decisions/0050-lookups-and-lock-order.md), so that neither is deleted while its people sign in.
"""

from uuid import UUID

from idp.accounts.repository.admin_roles import roles_of_user
from idp.accounts.repository.users import user_by_id
from idp.directory.repository.organizations import keep_organization
from idp.federation import realms
from idp.federation.errors import AdministratorError, ForeignAddressError, OrganizationUnavailableError
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


async def check_account(identity: ExternalIdentity, user_id: UUID) -> None:
    """Check that the upstream of an identity may sign in an account, however long ago it was linked.

    The address of the account decides, and not the one that the upstream says: a user who has left the organization,
    or whose organization has lost the domain, keeps the account.

    Raises:
        AdministratorError: the upstream is that of an organization, and the user has a role of the server.
        ForeignAddressError: the address of the account is not at a verified domain of the organization.
    """
    if identity.organization_id is None:
        return
    if await roles_of_user(user_id):
        raise AdministratorError("The user is an administrator of the server.")
    user = await user_by_id(user_id)
    if user is None:
        raise ForeignAddressError("The account was deleted.")
    await check_address(identity, user.email)
