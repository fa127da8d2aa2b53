"""The organizations of a user on the account page."""

from uuid import UUID

import pytest

from idp.accounts.tables import User
from idp.directory import effective, organizations
from idp.directory.errors import LastAdminError
from idp.infra.db.engine import execute, fetch
from tests.conftest import MakeClient, MakeUser
from tests.support.browser import Browser, as_page
from tests.support.directory import a_role_in, an_organization
from tests.support.oauth import PASSWORD

PATH = "/account/organizations"


@pytest.fixture
async def home(browser: Browser, alice: User) -> Browser:
    """Alice's browser, signed in."""
    await browser.sign_in(as_page(await browser.get("/login")), alice.email, PASSWORD)
    assert browser.signed_in
    return browser


async def _is_member(user: User, organization_id: UUID) -> bool:
    return await effective.is_member_of(user.id, organization_id)


async def test_a_user_leaves(home: Browser, alice: User) -> None:
    """With all roles there, and no other organization."""
    acme, other = await an_organization(alice), await an_organization(alice, name="Other")
    editor = await a_role_in(acme, alice)
    page = as_page(await home.get(PATH))
    assert all(text in page.text for text in (acme.slug, other.slug, editor.name))
    page = as_page(await home.get(f"{PATH}/{acme.id}/leave"))
    assert "No one else manages it" not in page.text
    assert await _is_member(alice, acme.id)
    page = as_page(await home.submit(page, "ask-confirm"))
    assert "You are no longer a member of " in page.text
    assert f'id="leave-{acme.slug}"' not in page.text
    assert f'id="leave-{other.slug}"' in page.text
    assert (await effective.memberships(alice.id)).role_ids == frozenset()
    events = await fetch(
        "SELECT actor FROM audit_event WHERE event = 'organization_member_removed' AND user_id = $1", alice.id
    )
    assert len(events) == 1
    assert "not a member" in as_page(await home.get(f"{PATH}/{acme.id}/leave")).text
    assert "not a member" in as_page(await home.get(f"{PATH}/{UUID(int=1)}/leave")).text


async def test_the_last_one_who_manages_it_is_told_first(home: Browser, alice: User, make_user: MakeUser) -> None:
    bob = await make_user()
    acme = await an_organization(alice, bob)
    for user in (alice, bob):
        await organizations.set_admin(acme.id, user.id, admin=True)
    page = as_page(await home.get(f"{PATH}/{acme.id}/leave"))
    assert "No one else manages it" not in page.text
    # The other one goes while the form is open.
    assert await organizations.leave(acme.id, bob.id, last_admin=False)
    page = as_page(await home.submit(page, "ask-confirm"))
    assert "No one else manages it" in page.text
    assert await _is_member(alice, acme.id)
    with pytest.raises(LastAdminError):
        await organizations.leave(acme.id, alice.id, last_admin=False)
    page = as_page(await home.submit(page, "ask-confirm"))
    assert "You are no longer a member of " in page.text
    assert not await _is_member(alice, acme.id)


async def test_a_disabled_membership_stays(home: Browser, alice: User) -> None:
    """Its user could come back by an invitation."""
    acme = await an_organization(alice)
    page = as_page(await home.get(f"{PATH}/{acme.id}/leave"))
    await execute("UPDATE organization_member SET disabled_at = now() WHERE user_id = $1", alice.id)
    assert as_page(await home.submit(page, "ask-confirm")).status == 400
    assert len(await fetch("SELECT FROM organization_member WHERE user_id = $1", alice.id)) == 1
    await organizations.disable(acme.id)
    await execute("UPDATE organization_member SET disabled_at = NULL WHERE user_id = $1", alice.id)
    assert not await organizations.leave(acme.id, alice.id, last_admin=False)
    await organizations.delete(acme.id)
    assert as_page(await home.submit(page, "ask-confirm")).status == 400


async def test_an_account_that_the_organization_made_stays(home: Browser, alice: User) -> None:
    """Its SCIM client would lose the account."""
    acme = await an_organization(alice)
    page = as_page(await home.get(f"{PATH}/{acme.id}/leave"))
    await execute("UPDATE organization_member SET managed = true WHERE user_id = $1", alice.id)
    refused = as_page(await home.submit(page, "ask-confirm"))
    assert (refused.status, "Your organisation manages this account." in refused.text) == (400, True)
    assert await _is_member(alice, acme.id)


async def test_what_was_issued_there_ends(home: Browser, alice: User, make_client: MakeClient) -> None:
    """Also for a user who is added again. What was issued for another organization stays."""
    client = await make_client(scope="openid organization offline_access", skip_consent=True)
    acme, other = await an_organization(alice), await an_organization(alice)
    there, elsewhere = [
        await client.tokens(home, alice.email, scope="openid organization offline_access", organization=each.slug)
        for each in (acme, other)
    ]
    await home.submit(as_page(await home.get(f"{PATH}/{acme.id}/leave")), "ask-confirm")
    assert not await _is_member(alice, acme.id)
    await organizations.add_members(acme.id, [alice.id])
    assert (await client.refresh(there["refresh_token"])).status_code == 400
    assert (await client.refresh(elsewhere["refresh_token"])).status_code == 200
