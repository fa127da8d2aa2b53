"""The domains of organizations: claiming them, and proving control by a TXT record.

An organization claims a domain and gets a text. Whoever controls the domain publishes it in a TXT record; then the
domain is verified, and belongs to this organization alone. Verified domains are checked again from time to time: one
whose record is missing for too long is only claimed again (docs/decisions/0077-verified-domains.md).
"""

from uuid import UUID

from idp import ids
from idp.accounts.addresses import InvalidEmailError, normalise_domain
from idp.audit.events import record
from idp.directory import lockouts, organizations
from idp.directory.effective import DOMAINS_TOPIC as TOPIC
from idp.directory.errors import (
    DomainClaimedError,
    DomainEnforcedError,
    DomainNotVerifiedError,
    DomainTakenError,
    UnknownDomainError,
)
from idp.directory.models import Domain
from idp.directory.repository import domains as repository
from idp.directory.repository.organizations import lock_organization_without_key
from idp.directory.repository.sign_in_policies import policy_of
from idp.infra import dns, rate_limits
from idp.infra.db.cache_invalidation import exclusive_change, lock_and_announce
from idp.infra.db.engine import transaction
from idp.infra.rate_limits import Rate
from idp.settings import settings

#: The label of the TXT record below the domain, and the beginning of its text.
LABEL, PREFIX = "_idp-challenge", "idp-domain-verification="
#: Domains of one organization, verified or claimed.
MAX_DOMAINS = 100
#: The name of the record is one label longer, and a name has up to 253 characters.
MAX_LENGTH = 253 - len(LABEL) - 1
#: Questions to name servers that administrators of one organization cause.
CHECKS = Rate("checks of the domains of an organization", burst=20, interval=10)


def record_name(domain: str) -> str:
    """Return the name of the TXT record of a domain."""
    return f"{LABEL}.{domain}"


def record_value(token: str) -> str:
    """Return the text of the TXT record."""
    return f"{PREFIX}{token}"


async def claim(organization_id: UUID, domain: str) -> Domain:
    """Claim a domain for an organization. Others may claim it too, until one has verified it.

    Raises:
        InvalidEmailError: it is not a domain that addresses can have.
        UnknownOrganizationError: there is no such organization.
        DomainClaimedError: the organization claims it already, or claims too many.
    """
    name = normalise_domain(domain)
    if len(name) > MAX_LENGTH:
        raise DomainClaimedError("The domain is too long.")
    async with transaction():
        await organizations.keep(organization_id)
        await lock_and_announce(TOPIC)
        claimed = await repository.claim_domain(ids.uuid7(), organization_id, name, ids.random_token(), MAX_DOMAINS)
        if claimed is None:
            raise DomainClaimedError(f"The organisation has claimed this domain already, or {MAX_DOMAINS} others.")
        await _record("organization_domain_claimed", claimed)
    return claimed


async def verify(id: UUID) -> Domain:
    """Look for the record of a domain, and give the domain to the organization if it is there.

    Raises:
        UnknownDomainError: there is no such claim.
        DomainNotVerifiedError: the record is not there, or the name servers did not answer.
        DomainTakenError: another organization has verified the domain.
        TooManyRequestsError: too many were looked for.
    """
    claimed = await found(id)
    await rate_limits.spend((CHECKS, str(claimed.organization_id)))
    try:
        published = await is_published(claimed)
    except dns.ResolverError as error:
        raise DomainNotVerifiedError("The name servers of the domain do not answer. Try again later.") from error
    if not published:
        raise DomainNotVerifiedError(f"There is no TXT record {record_name(claimed.domain)} with this text yet.")
    async with exclusive_change(TOPIC):
        before = await found(id)
        verified = await repository.verify_domain(id, claimed.token, float(settings().domain_check_interval))
        if verified is None:
            raise DomainTakenError
        if before.verified_at is None:
            await _record("organization_domain_verified", verified)
    return verified


async def is_published(domain: Domain) -> bool:
    """Return whether name servers return the record of a domain.

    Raises:
        ResolverError: they did not answer.
    """
    return record_value(domain.token) in [text.strip() for text in await dns.txt(record_name(domain.domain))]


async def enforce(id: UUID, *, enforced: bool) -> Domain:
    """Set whether the addresses of a verified domain sign in at the upstreams of the organization only.

    Raises:
        UnknownDomainError: there is no such domain.
        DomainNotVerifiedError: it is not verified.
        LockoutError: the sign-in policy of the organization does not allow these upstreams.
    """
    organization_id = (await found(id)).organization_id
    async with transaction():
        # As a change of the policy does, so that one of the two sees the other.
        await lock_organization_without_key(organization_id)
        await lock_and_announce(TOPIC)
        before = await found(id)
        if enforced and (policy := await policy_of(organization_id)) is not None:
            lockouts.check_domain(before.domain, policy)
        after = await repository.enforce_domain(id, enforced)
        if after is None:
            raise DomainNotVerifiedError("Verify the domain first.")
        if before.enforced != after.enforced:
            await _record("organization_domain_enforced" if enforced else "organization_domain_released", after)
    return after


async def remove(id: UUID, *, delegated: bool = False) -> None:
    """Remove a domain, or a claim, from its organization.

    Args:
        delegated: an administrator of the organization asks. A removal would release an enforced domain, which only
            administrators of the server do.

    Raises:
        UnknownDomainError: there is no such domain.
        DomainEnforcedError: it is enforced.
    """
    async with exclusive_change(TOPIC):
        removed = await repository.delete_domain(id, enforced=not delegated)
        if removed is None:
            await found(id)
            raise DomainEnforcedError
        await _record("organization_domain_removed", removed)


async def of_organization(organization_id: UUID, domain: str) -> Domain:
    """Return a domain of an organization by its name.

    Raises:
        UnknownDomainError: there is no such domain.
    """
    try:
        name = normalise_domain(domain)
    except InvalidEmailError as error:
        raise UnknownDomainError from error
    found_one = await repository.domain_of_organization(organization_id, name)
    if found_one is None:
        raise UnknownDomainError
    return found_one


async def found(id: UUID) -> Domain:
    """Return a domain, verified or claimed.

    Raises:
        UnknownDomainError: there is no such domain.
    """
    domain = await repository.domain_by_id(id)
    if domain is None:
        raise UnknownDomainError
    return domain


async def check(domain: Domain) -> None:
    """Check a verified domain again. An answer that is missing changes nothing.

    Raises:
        ResolverError: the name servers did not answer.
    """
    interval = float(settings().domain_check_interval)
    if await is_published(domain):
        # Nothing changes for sign-ins, so nothing is announced.
        await repository.keep_domain(domain.id, domain.token, interval)
        return
    async with exclusive_change(TOPIC):
        missed = await repository.miss_domain(domain.id, domain.token, interval)
        if missed is None:
            return
        if domain.missing_since is None:
            await _record("organization_domain_missing", missed)
        if (lost := await repository.lose_domain(domain.id, float(settings().domain_grace))) is not None:
            await _record("organization_domain_lost", lost)


async def _record(event: str, domain: Domain) -> None:
    await record(
        event,
        detail={
            "organization_id": str(domain.organization_id), "domain_id": str(domain.id), "domain": domain.domain,
        },
    )  # fmt: skip
