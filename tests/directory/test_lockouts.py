"""A sign-in policy and enforced domains that would lock people out together."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from idp.accounts.tables import User
from idp.directory import domains, organizations
from idp.directory.lockouts import LockoutError
from idp.directory.models import Domain
from idp.directory.repository.domains import lose_domain, verify_domain
from idp.directory.sign_in_policy import NO_POLICY
from idp.directory.sign_in_policy_changes import policy_of, set_policy
from idp.infra.db.engine import execute
from tests.support.directory import an_organization
from tests.support.realms import until_forgotten
from tests.support.server import Server

SOME = ["password", "email_code"]


Make = Callable[[], Awaitable[Domain]]


@pytest.fixture
async def a_domain(server: Server) -> AsyncIterator[Make]:
    """Make organizations with a verified domain. At the end the server knows none that is enforced."""
    made = []

    async def make() -> Domain:
        organization = await an_organization()
        made.append(organization)
        claimed = await domains.claim(organization.id, f"{secrets.token_hex(6)}.example")
        verified = await verify_domain(claimed.id, claimed.token, 86400)
        assert verified is not None
        return verified

    yield make
    for organization in made:
        await organizations.delete(organization.id)
    await until_forgotten(server)


async def test_a_policy_without_the_upstreams(a_domain: Make) -> None:
    """It must be accepted if a domain is enforced."""
    domain = await a_domain()
    await set_policy(domain.organization_id, ways=SOME)
    await set_policy(domain.organization_id)
    await domains.enforce(domain.id, enforced=True)
    with pytest.raises(LockoutError, match=domain.domain) as refused:
        await set_policy(domain.organization_id, ways=SOME)
    assert (refused.value.domains, refused.value.own) == ((domain.domain,), False)
    assert await policy_of(domain.organization_id) == NO_POLICY
    for ways in (["upstream", "password"], ["passkey"], []):
        await set_policy(domain.organization_id, second_factor=True, ways=ways)
    policy = await set_policy(domain.organization_id, ways=SOME, accept_lockout=True)
    assert await policy_of(domain.organization_id) == policy
    # The same again changes nothing, and asks nothing.
    await set_policy(domain.organization_id, ways=SOME)


async def test_a_domain_is_not_enforced_against_the_policy(a_domain: Make) -> None:
    domain = await a_domain()
    await set_policy(domain.organization_id, ways=SOME)
    with pytest.raises(LockoutError):
        await domains.enforce(domain.id, enforced=True)
    assert not (await domains.found(domain.id)).enforced
    # A domain can always be released.
    assert not (await domains.enforce(domain.id, enforced=False)).enforced
    await set_policy(domain.organization_id, ways=["passkey"])
    assert (await domains.enforce(domain.id, enforced=True)).enforced


async def test_a_lost_domain_counts_because_it_is_enforced_again(a_domain: Make) -> None:
    domain = await a_domain()
    await domains.enforce(domain.id, enforced=True)
    await execute("UPDATE organization_domain SET missing_since = now() - interval '1 day' WHERE id = $1", domain.id)
    assert await lose_domain(domain.id, 1.0) is not None
    with pytest.raises(LockoutError, match=domain.domain):
        await set_policy(domain.organization_id, ways=SOME)
    back = await verify_domain(domain.id, domain.token, 86400)
    assert back is not None
    assert (back.enforced, await policy_of(domain.organization_id)) == (True, NO_POLICY)


async def test_both_at_once(a_domain: Make) -> None:
    """One of them sees the other."""
    for _ in range(5):
        domain = await a_domain()
        done = await asyncio.gather(
            set_policy(domain.organization_id, ways=SOME),
            domains.enforce(domain.id, enforced=True),
            return_exceptions=True,
        )
        assert [type(each) for each in done].count(LockoutError) == 1


@pytest.mark.parametrize(
    ("amr", "ways", "own"),
    [
        (["pwd", "otp", "mfa"], ["passkey", "upstream"], True),
        (["pwd", "otp", "mfa"], ["passkey"], False),
        (["pwd", "otp", "mfa"], ["password"], False),
        (["fed"], ["password"], True),
        (None, ["upstream"], False),
    ],
)
async def test_those_who_set_it(amr: list[str] | None, ways: list[str], own: bool, db: str, alice: User) -> None:
    acme = await an_organization(alice)
    if own:
        with pytest.raises(LockoutError) as refused:
            await set_policy(acme.id, amr=amr, ways=ways)
        assert (refused.value.domains, refused.value.own) == ((), True)
    policy = await set_policy(acme.id, amr=amr, accept_lockout=own, ways=ways)
    assert await policy_of(acme.id) == policy
