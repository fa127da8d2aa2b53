"""The statements on the domains of organizations."""

from collections.abc import Collection, Sequence
from uuid import UUID

from idp.directory.models import Domain, DomainOwner, VerifiedDomain
from idp.directory.tables import OrganizationDomain
from idp.infra.db.columns import all_columns
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import many, one

_COLUMNS = all_columns(OrganizationDomain)
# $1 id  $2 organization_id  $3 domain  $4 token  $5 maximum number
_CLAIM = f"""
INSERT INTO organization_domain (id, organization_id, domain, token, created_at)
SELECT $1, o.id, $3, $4, now() FROM organization AS o
WHERE o.id = $2 AND (SELECT count(*) FROM organization_domain WHERE organization_id = $2) < $5
ON CONFLICT (organization_id, domain) DO NOTHING RETURNING {_COLUMNS}
"""  # noqa: S608
_BY_ID = f"SELECT {_COLUMNS} FROM organization_domain WHERE id = $1"  # noqa: S608
_OF_ORGANIZATION = f"""
SELECT {_COLUMNS} FROM organization_domain WHERE organization_id = $1 AND domain = $2
"""  # noqa: S608
# The first one that proves control gets the domain. $1 id  $2 token  $3 seconds until the next check
_VERIFY = f"""
UPDATE organization_domain AS d
SET verified_at = coalesce(verified_at, now()), checked_at = now(), missing_since = NULL,
    next_check_at = now() + make_interval(secs => $3)
WHERE id = $1 AND token = $2 AND NOT EXISTS (
    SELECT FROM organization_domain WHERE domain = d.domain AND verified_at IS NOT NULL AND id <> $1)
RETURNING {_COLUMNS}
"""  # noqa: S608
# $1 id  $2 token  $3 seconds until the next check
_KEEP = """
UPDATE organization_domain
SET checked_at = now(), missing_since = NULL, next_check_at = now() + make_interval(secs => $3)
WHERE id = $1 AND token = $2 AND verified_at IS NOT NULL
"""
# $1 id  $2 token  $3 seconds until the next check
_MISS = f"""
UPDATE organization_domain
SET checked_at = now(), missing_since = coalesce(missing_since, now()),
    next_check_at = now() + make_interval(secs => $3)
WHERE id = $1 AND token = $2 AND verified_at IS NOT NULL RETURNING {_COLUMNS}
"""  # noqa: S608
# $1 id  $2 seconds for which the record may be missing
_LOSE = f"""
UPDATE organization_domain SET verified_at = NULL, missing_since = NULL, next_check_at = NULL
WHERE id = $1 AND missing_since <= now() - make_interval(secs => $2) RETURNING {_COLUMNS}
"""  # noqa: S608
_ENFORCE = f"""
UPDATE organization_domain SET enforced = $2 WHERE id = $1 AND (verified_at IS NOT NULL OR NOT $2)
RETURNING {_COLUMNS}
"""  # noqa: S608
# $1 organizations
_SIGN_IN = """
SELECT domain, organization_id, enforced FROM organization_domain
WHERE organization_id = ANY ($1::uuid[]) AND verified_at IS NOT NULL
UNION SELECT domain, organization_id, enforced FROM organization_domain WHERE enforced AND verified_at IS NOT NULL
"""
_VERIFIED = """
SELECT d.domain, d.organization_id, d.enforced, o.disabled_at IS NOT NULL AS organization_disabled
FROM organization_domain AS d JOIN organization AS o ON o.id = d.organization_id
WHERE d.domain = $1 AND d.verified_at IS NOT NULL
"""
_HOLD_VERIFIED = f"{_VERIFIED} FOR SHARE OF d"
# $1 id  $2 also an enforced one
_DELETE = f"DELETE FROM organization_domain WHERE id = $1 AND (NOT enforced OR $2) RETURNING {_COLUMNS}"  # noqa: S608
_ENFORCED = "SELECT domain FROM organization_domain WHERE organization_id = $1 AND enforced ORDER BY 1"
# A worker that takes some has until the lease ends. $1 number  $2 seconds of the lease
_TAKE_DUE = f"""
WITH due AS MATERIALIZED (
    SELECT id FROM organization_domain WHERE next_check_at <= now() ORDER BY next_check_at LIMIT $1
    FOR UPDATE SKIP LOCKED
)
UPDATE organization_domain SET next_check_at = now() + make_interval(secs => $2) WHERE id IN (SELECT id FROM due)
RETURNING {_COLUMNS}
"""  # noqa: S608


async def claim_domain(id: UUID, organization_id: UUID, domain: str, token: str, maximum: int) -> Domain | None:
    """Claim a domain. Returns None if the organization claims it already or claims too many, or is unknown."""
    return one(Domain, await fetchrow(_CLAIM, id, organization_id, domain, token, maximum))


async def domain_by_id(id: UUID) -> Domain | None:
    return one(Domain, await fetchrow(_BY_ID, id))


async def domain_of_organization(organization_id: UUID, domain: str) -> Domain | None:
    return one(Domain, await fetchrow(_OF_ORGANIZATION, organization_id, domain))


async def verify_domain(id: UUID, token: str, interval: float) -> Domain | None:
    """Record that the record was found. Returns None if another organization has the domain, or the claim is gone.

    Args:
        interval: seconds until the next check.
    """
    return one(Domain, await fetchrow(_VERIFY, id, token, interval))


async def keep_domain(id: UUID, token: str, interval: float) -> None:
    """Record that the record of a verified domain was found again."""
    await execute(_KEEP, id, token, interval)


async def miss_domain(id: UUID, token: str, interval: float) -> Domain | None:
    """Record that the record of a verified domain was not found. Returns None if it is not verified."""
    return one(Domain, await fetchrow(_MISS, id, token, interval))


async def lose_domain(id: UUID, grace: float) -> Domain | None:
    """End the verification of a domain whose record has been missing for ``grace`` seconds. None: it has not."""
    return one(Domain, await fetchrow(_LOSE, id, grace))


async def enforce_domain(id: UUID, enforced: bool) -> Domain | None:
    """Set whether a domain is enforced. Returns None if it is not verified, or unknown."""
    return one(Domain, await fetchrow(_ENFORCE, id, enforced))


async def enforced_domains(organization_id: UUID) -> list[str]:
    """Return the domains of an organization that are enforced, or are again once a lost one is verified. Ordered."""
    return [row["domain"] for row in await fetch(_ENFORCED, organization_id)]


async def domains_of_sign_ins(organization_ids: Collection[UUID]) -> list[VerifiedDomain]:
    """Return the verified domains of these organizations, and all that are enforced."""
    return many(VerifiedDomain, await fetch(_SIGN_IN, list(organization_ids)))


async def verified_domain(domain: str, *, hold: bool = False) -> DomainOwner | None:
    """Return the organization to which a domain belongs. None: the domain is not verified.

    Args:
        hold: it does not change before the end of the transaction.
    """
    return one(DomainOwner, await fetchrow(_HOLD_VERIFIED if hold else _VERIFIED, domain))


async def delete_domain(id: UUID, *, enforced: bool) -> Domain | None:
    """Delete a domain or a claim. Returns what was deleted.

    Args:
        enforced: also a domain that is enforced.
    """
    return one(Domain, await fetchrow(_DELETE, id, enforced))


async def take_due_domains(number: int, lease: float) -> Sequence[Domain]:
    """Return verified domains that must be checked. For ``lease`` seconds no other worker gets them."""
    return many(Domain, await fetch(_TAKE_DUE, number, lease))


DOMAINS = Listing(
    source="organization_domain AS d",
    columns="d.id, d.organization_id, d.domain, d.token, d.enforced, d.created_at, d.verified_at, d.checked_at,"
    " d.missing_since",
    key=Sort("d.id", "uuid"),
    sorts={"domain": Sort("d.domain", "text")},
    default_sort="domain",
    filters={
        "id": Filter("d.id = {}", "uuid", "One domain."),
        "organization_id": Filter("d.organization_id = {}", "uuid", "Of one organization."),
        "domain": Filter("d.domain = lower({})", help="One domain."),
        "verified": Filter("(d.verified_at IS NOT NULL) = {}", "boolean", "Whether it is verified."),
    },
)
