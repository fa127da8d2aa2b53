"""What was issued for an organization ends with the membership, in whatever way that ends."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest

from idp.accounts.tables import User
from idp.directory import issued, member_states, organizations
from idp.infra.db.engine import execute, fetch
from tests.conftest import MakeClient
from tests.support.browser import Browser
from tests.support.directory import an_organization

SCOPE = "openid organization offline_access"
LIVE = "SELECT FROM token_family WHERE user_id = $1 AND organization_id = $2 AND revoked_at IS NULL"


async def _removed(organization_id: UUID, user_id: UUID) -> None:
    await organizations.remove_members(organization_id, [user_id])


async def _left(organization_id: UUID, user_id: UUID) -> None:
    assert await organizations.leave(organization_id, user_id, last_admin=False)


async def _unlinked(organization_id: UUID, user_id: UUID) -> None:
    await execute("UPDATE organization_member SET origin = 'upstream:acme' WHERE user_id = $1", user_id)
    await organizations.leave_of_origin(user_id, "upstream:acme")


async def _disabled(organization_id: UUID, user_id: UUID) -> None:
    assert await member_states.set_enabled(organization_id, user_id, enabled=False)
    await execute("DELETE FROM organization_member WHERE user_id = $1", user_id)


@pytest.mark.parametrize("end", [_removed, _left, _unlinked, _disabled])
async def test_tokens_end(
    end: Callable[[UUID, UUID], Awaitable[None]], browser: Browser, alice: User, make_client: MakeClient
) -> None:
    """Also for a user who is added again."""
    client = await make_client(scope=SCOPE, skip_consent=True)
    acme = await an_organization(alice)
    tokens = await client.tokens(browser, alice.email, scope=SCOPE, organization=acme.slug)
    assert len(await fetch(LIVE, alice.id, acme.id)) == 1
    await end(acme.id, alice.id)
    assert await fetch(LIVE, alice.id, acme.id) == []
    await organizations.add_members(acme.id, [alice.id])
    assert (await client.refresh(tokens["refresh_token"])).status_code == 400


async def test_no_membership_ends_without(db: str, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has not loaded what revokes tokens ends no membership."""
    acme = await an_organization(alice)
    monkeypatch.setattr(issued, "_registered", [])
    for end in (_removed, _left, _disabled):
        with pytest.raises(RuntimeError, match=r"idp\.oauth\.sign_out"):
            await end(acme.id, alice.id)
    assert len(await fetch("SELECT FROM organization_member WHERE user_id = $1", alice.id)) == 1
