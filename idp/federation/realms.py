"""Home-realm discovery: which upstreams an address, or an organization, leads to.

A verified domain belongs to one organization, and its addresses lead to the upstreams of this organization. If the
domain is enforced, they lead nowhere else. The domains that matter are in memory; what decides a sign-in is read from
the database (docs/decisions/0080-home-realms.md).
"""

from uuid import UUID

from idp.accounts.addresses import domain_of
from idp.directory import domains
from idp.directory.models import Domain, DomainOwner, VerifiedDomain
from idp.directory.repository.domains import domains_of_sign_ins, verified_domain
from idp.errors import ConflictError
from idp.federation.models import Upstream
from idp.federation.registry import upstreams
from idp.federation.repository import has_upstream


class NoUpstreamError(ConflictError):
    """The organization has no upstream that is enabled, so that its users could not sign in."""

    code = "no_upstream"


class Realms:
    """The verified domains that are enforced or whose organization has an upstream, in memory."""

    def __init__(self) -> None:
        self._by_domain: dict[str, VerifiedDomain] = {}
        self._by_name: dict[str, UUID] = {}

    async def load(self) -> None:
        """Reload the upstreams and the domains. If that fails, the loaded ones stay."""
        await upstreams.load()
        found = await domains_of_sign_ins(upstreams.organizations)
        self._by_domain = {one.domain: one for one in found}
        self._by_name = {name: key for key, slug in upstreams.organizations.items() for name in (slug, str(key))}

    def __bool__(self) -> bool:
        return bool(self._by_domain)

    def of(self, email: str) -> VerifiedDomain | None:
        """Return the domain of a normalised address."""
        return self._by_domain.get(domain_of(email)) if self._by_domain else None

    def named(self, name: str | None) -> UUID | None:
        """Return the organization with an upstream that a request names by its slug or id."""
        return self._by_name.get(name) if name is not None else None


realms = Realms()


def offered(only: tuple[str, ...] | None, email: str, organization: str | None = None) -> list[Upstream]:
    """Return the upstreams that are offered to an address, in a sign-in for an organization.

    Args:
        only: the upstreams that the application allows. None: those of the whole server, and of the organizations.
        email: a normalised address, or an empty string.
        organization: the slug or the id that the request names.
    """
    domain = realms.of(email)
    found = {realms.named(organization), domain.organization_id if domain is not None else None}
    return upstreams.offered(only, [one for one in found if one is not None])


async def owner_of(email: str, *, hold: bool = False) -> DomainOwner | None:
    """Return the organization to which the domain of an address belongs now. Other domains are not looked up.

    Args:
        email: a normalised address.
        hold: it does not change before the end of the transaction.
    """
    return await verified_domain(domain_of(email), hold=hold) if realms.of(email) is not None else None


async def enforce(id: UUID) -> Domain:
    """Let the addresses of a verified domain sign in at the upstreams of its organization only.

    Raises:
        UnknownDomainError: there is no such domain.
        DomainNotVerifiedError: it is not verified.
        NoUpstreamError: its organization has no upstream that is enabled.
        LockoutError: the sign-in policy of its organization does not allow its upstreams.
    """
    domain = await domains.found(id)
    if domain.verified_at is not None and not await has_upstream(domain.organization_id):
        raise NoUpstreamError("The organisation has no enabled upstream, so no one could sign in. Add one first.")
    return await domains.enforce(id, enforced=True)
