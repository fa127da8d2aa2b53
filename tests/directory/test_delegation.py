"""Administrators of an organization: whom they may add, that one remains, and what they see of the audit trail."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from uuid import UUID

import pytest

from idp.accounts.tables import User
from idp.accounts.users import create_user
from idp.directory import delegation, domains, member_states, organizations, roles
from idp.directory.errors import (
    LastAdminError,
    NotMemberError,
    UnknownMemberError,
    UnknownOrganizationError,
)
from idp.directory.models import Organization
from idp.directory.repository import trail
from idp.directory.repository.domains import verify_domain
from idp.errors import PermissionDeniedError
from idp.infra.db.engine import authority, engine, execute, fetchrow, transaction
from idp.infra.db.listing import list_page
from idp.infra.request_context import actor
from tests.conftest import MakeUser
from tests.support.directory import a_role_in, an_organization

NOBODY = UUID(int=1)


async def managed_by(*users: User) -> Organization:
    organization = await an_organization(*users)
    for user in users:
        await organizations.set_admin(organization.id, user.id, admin=True)
    return organization


async def test_who_manages_what(db: str, alice: User, make_user: MakeUser) -> None:
    organization, bob = await managed_by(alice), await make_user()
    await organizations.add_members(organization.id, [bob.id])
    assert [each.id for each in await delegation.managed_by(alice.id)] == [organization.id]
    assert (await delegation.managed(alice.id, organization.slug)).id == organization.id
    assert await delegation.managed_by(bob.id) == []
    for user, slug in ((bob, organization.slug), (alice, "none-such")):
        with pytest.raises(UnknownOrganizationError):
            await delegation.managed(user.id, slug)
    await organizations.disable(organization.id)
    assert not await delegation.manages(alice.id, organization.id)
    with pytest.raises(UnknownOrganizationError):
        await delegation.managed(alice.id, organization.slug)


@pytest.mark.parametrize("change", ["removed", "suspended", "demoted", "disabled", "deleted"])
async def test_the_authority_is_held(change: str, db: str, alice: User) -> None:
    """What would end it waits for the transaction of the change; afterwards the next one is refused."""
    organization = await managed_by(alice)
    end: dict[str, Callable[[], Awaitable[object]]] = {
        "removed": partial(organizations.remove_members, organization.id, [alice.id]),
        "suspended": partial(member_states.set_enabled, organization.id, alice.id, enabled=False),
        "demoted": partial(organizations.set_admin, organization.id, alice.id, admin=False),
        "disabled": partial(organizations.disable, organization.id),
        "deleted": partial(organizations.delete, organization.id),
    }
    async with transaction():
        await delegation.hold(alice.id, organization.id)
        waiting = asyncio.create_task(_elsewhere(end[change]))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        assert await delegation.manages(alice.id, organization.id)
    await waiting
    with pytest.raises(PermissionDeniedError):
        async with transaction():
            await delegation.hold(alice.id, organization.id)


async def _elsewhere(change: Callable[[], Awaitable[object]]) -> None:
    """Run a change in a transaction of its own."""

    engine.current_transaction.set(None)
    await change()


async def a_domain(organization: Organization, *, verified: bool = True) -> str:
    claimed = await domains.claim(organization.id, f"{secrets.token_hex(6)}.example")
    if verified:
        assert await verify_domain(claimed.id, claimed.token, 86400)
    return claimed.domain


async def test_whom_an_administrator_adds(db: str, alice: User, make_user: MakeUser) -> None:
    """Enabled users with a verified address at a verified domain of the organization. Others are unknown."""
    organization, other = await managed_by(alice), await an_organization()
    domain, claimed = await a_domain(organization), await a_domain(organization, verified=False)
    elsewhere = await a_domain(other)

    async def at(domain: str, *, verified: bool = True) -> User:
        return await create_user(f"{secrets.token_hex(6)}@{domain}", None, email_verified=verified)

    colleague, unverified, disabled = await at(domain), await at(domain, verified=False), await at(domain)
    await execute("UPDATE users SET disabled_at = now() WHERE id = $1", disabled.id)
    others = [unverified, disabled, await at(claimed), await at(elsewhere), await at(f"sub.{domain}")]
    for each in [*(user.id for user in others), NOBODY]:
        with pytest.raises(UnknownMemberError):
            await organizations.add_members(organization.id, [colleague.id, each], delegated=True)
    assert await organizations.add_members(organization.id, [colleague.id], delegated=True) == 1
    assert await organizations.add_members(organization.id, [each.id for each in others]) == len(others)


async def test_an_administrator_remains(db: str, alice: User, make_user: MakeUser) -> None:
    """Only administrators of the server take the last one."""
    organization, bob = await managed_by(alice), await make_user()
    await organizations.add_members(organization.id, [bob.id])
    with pytest.raises(LastAdminError):
        await organizations.set_admin(organization.id, alice.id, admin=False, delegated=True)
    with pytest.raises(LastAdminError):
        await organizations.remove_members(organization.id, [alice.id], delegated=True)
    assert await organizations.remove_members(organization.id, [bob.id], delegated=True) == 1
    # One who cannot sign in does not manage anything.
    await organizations.add_members(organization.id, [bob.id])
    await organizations.set_admin(organization.id, bob.id, admin=True)
    await execute("UPDATE users SET disabled_at = now() WHERE id = $1", bob.id)
    with pytest.raises(LastAdminError):
        await organizations.remove_members(organization.id, [alice.id], delegated=True)
    await execute("UPDATE users SET disabled_at = NULL WHERE id = $1", bob.id)
    assert await organizations.remove_members(organization.id, [alice.id], delegated=True) == 1
    assert await organizations.set_admin(organization.id, bob.id, admin=False)


async def test_one_of_two_who_leave_at_once_remains(db: str, make_user: MakeUser) -> None:
    for _ in range(10):
        users = [await make_user() for _ in range(3)]
        organization = await managed_by(*users)

        async def leave(user: User, organization: Organization = organization) -> None:
            authority.set(partial(delegation.hold, user.id, organization.id))
            await organizations.remove_members(organization.id, [user.id], delegated=True)

        found = await asyncio.gather(*(leave(user) for user in users), return_exceptions=True)
        assert [type(each) for each in found if each is not None] == [LastAdminError]


async def test_changes_of_one_organization_at_once(db: str, make_user: MakeUser) -> None:
    """By its administrators, by those of the server, and the deletion at the end: no deadlock."""
    for _ in range(8):
        users = [await make_user() for _ in range(3)]
        organization = await managed_by(*users)
        role = await a_role_in(organization)
        people = [user.id for user in users]

        async def delegated(user: User, change: Awaitable[object], organization: Organization = organization) -> object:
            authority.set(partial(delegation.hold, user.id, organization.id))
            return await change

        def changes(organization: Organization = organization, role_id: UUID = role.id) -> list[Awaitable[object]]:
            return [
                organizations.rename(organization.id, f"Named {secrets.token_hex(3)}"),
                roles.create(f"role {secrets.token_hex(6)}", organization_id=organization.id),
                domains.claim(organization.id, f"{secrets.token_hex(6)}.example"),
                roles.give(role_id, people),  # noqa: B023
                roles.take(role_id, people),  # noqa: B023
                organizations.add_members(organization.id, people),  # noqa: B023
            ]

        found = await asyncio.gather(
            *(delegated(user, change) for user in users for change in changes()),
            *changes(),
            organizations.disable(organization.id),
            organizations.enable(organization.id),
            organizations.delete(organization.id),
            return_exceptions=True,
        )
        assert [each for each in found if isinstance(each, OSError)] == []
        kinds = {type(each).__name__ for each in found if isinstance(each, BaseException)}
        assert kinds <= {"UnknownOrganizationError", "PermissionDeniedError", "UnknownRoleError", "NotMemberError"}


async def test_a_role_for_an_unknown_user(db: str, alice: User, make_user: MakeUser) -> None:
    """It says what it says of one who is not a member, and changes neither."""
    role = await a_role_in(await an_organization(alice))
    stranger = await make_user()
    for user_id in (stranger.id, NOBODY):
        with pytest.raises(NotMemberError):
            await roles.give(role.id, [user_id])
        assert await roles.take(role.id, [user_id]) == 0
    row = await fetchrow("SELECT directory_version FROM users WHERE id = $1", stranger.id)
    assert row is not None
    assert row["directory_version"] == 0


async def test_the_trail_of_an_organization(db: str, alice: User, make_user: MakeUser) -> None:
    """Nobody is named who is not a member."""
    organization, other, bob = await managed_by(alice), await an_organization(alice), await make_user()
    actor.set(f"user:{alice.id}")
    await organizations.add_members(organization.id, [bob.id])
    role = await roles.create("Editor", organization_id=organization.id)
    await roles.update(role.id, "Author")
    await roles.give(role.id, [bob.id])
    actor.set(f"user:{bob.id}")
    await organizations.remove_members(organization.id, [bob.id])
    actor.set("cli:operator")
    await organizations.rename(organization.id, "Renamed")
    await organizations.rename(other.id, "Other")
    page = await list_page(trail.EVENTS, {"organization_id": str(organization.id)})
    events = [trail.read(row) for row in page.rows]
    assert [(each.event, each.by, each.email, each.of_user, dict(each.detail)) for each in events] == [
        ("organization_updated", None, None, False, {}),
        ("organization_member_removed", None, None, True, {}),
        ("user_role_granted", alice.email, None, True, {"name": "Author"}),
        ("role_updated", alice.email, None, False, {"name": "Author"}),
        ("role_created", alice.email, None, False, {"name": "Editor"}),
        ("organization_member_added", alice.email, None, True, {}),
        ("organization_admin_granted", None, alice.email, True, {}),
        ("organization_member_added", None, alice.email, True, {}),
        ("organization_created", None, None, False, {}),
    ]
    found = await list_page(trail.EVENTS, {"organization_id": str(organization.id), "user_id": str(alice.id)})
    assert {trail.read(row).user_id for row in found.rows} == {alice.id}
