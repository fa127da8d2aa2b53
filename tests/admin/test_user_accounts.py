"""Addresses that administrators change: who may, and for whom."""

import secrets

import pytest

from idp.accounts.repository.users import user_by_id
from idp.admin import user_accounts
from idp.directory import member_states, organizations
from idp.errors import PermissionDeniedError
from idp.federation.realms import realms
from idp.infra.db.engine import fetch
from tests.conftest import MakeUser
from tests.support.directory import an_organization
from tests.support.realms import an_enforced_domain
from tests.support.server import Server


def new_email(domain: str = "example.com") -> str:
    return f"{secrets.token_hex(6)}@{domain}"


async def test_only_an_owner_moves_the_administrator_of_an_organization(make_user: MakeUser) -> None:
    """Another mailbox would get the authority over the organization."""
    user, email = await make_user(email_verified=True), new_email()
    organization = await an_organization(user)
    assert await user_accounts.change_email(user.id, new_email(), by_owner=False)
    await organizations.set_admin(organization.id, user.id, admin=True)
    with pytest.raises(PermissionDeniedError, match="manages an organisation"):
        await user_accounts.change_email(user.id, email, by_owner=False)
    assert await user_accounts.change_email(user.id, email, by_owner=True)


async def test_a_disabled_organization_or_membership_keeps_its_administrator(make_user: MakeUser) -> None:
    """Both can be enabled again, and the other mailbox would then have the authority."""
    for_organization, for_membership = await make_user(email_verified=True), await make_user(email_verified=True)
    organization = await an_organization(for_organization, for_membership)
    for user in (for_organization, for_membership):
        await organizations.set_admin(organization.id, user.id, admin=True)
    assert await member_states.set_enabled(organization.id, for_membership.id, enabled=False)
    with pytest.raises(PermissionDeniedError, match="manages an organisation"):
        await user_accounts.change_email(for_membership.id, new_email(), by_owner=False)
    await organizations.disable(organization.id)
    with pytest.raises(PermissionDeniedError, match="manages an organisation"):
        await user_accounts.change_email(for_organization.id, new_email(), by_owner=False)


async def test_only_an_owner_moves_a_user_over_the_border_of_an_enforced_domain(
    make_user: MakeUser, server: Server
) -> None:
    organization = await an_organization()
    async with an_enforced_domain(organization, server) as domain:
        await realms.load()
        inside, outside = await make_user(email=new_email(domain)), await make_user()
        for user, email in ((inside, new_email()), (outside, new_email(domain))):
            with pytest.raises(PermissionDeniedError, match="enforced domain"):
                await user_accounts.change_email(user.id, email, by_owner=False)
            assert await user_accounts.change_email(user.id, email, by_owner=True)
    await realms.load()


async def test_the_own_address_stays_as_it_is(make_user: MakeUser) -> None:
    """Neither its verification nor sessions end; an account is not taken for one that a stranger made."""
    user = await make_user(email_verified=False)
    assert not await user_accounts.change_email(user.id, f" {user.email.upper()} ", by_owner=False)
    found = await user_by_id(user.id)
    assert found is not None
    assert (found.email, found.disabled_at) == (user.email, None)
    assert not await fetch("SELECT FROM audit_event WHERE user_id = $1 AND event = 'email_changed'", user.id)
