"""Operations on one organization, called by its administrators. What they cannot reach: tests/attacks/test_76_*."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import httpx
import pytest

from idp.accounts.users import create_user
from idp.admin.roles import Permission, Role, grant
from idp.directory import delegation, domains, invited, member_states, organizations, roles
from idp.infra.db.engine import execute, fetchrow, transaction
from tests.admin.api.conftest import API
from tests.admin.api.test_operations import problem
from tests.conftest import MakeClient
from tests.support.realms import until_forgotten
from tests.support.server import Server
from tests.support.tenants import Someone, Tenant, make_tenant, sign_in


class Acme:
    """An organization with one administrator and one member."""

    def __init__(self, server: Server, tenant: Tenant, admin: Someone, member: Someone) -> None:
        self.server, self.tenant, self.admin, self.member = server, tenant, admin, member

    @property
    def path(self) -> str:
        return f"/organizations/{self.tenant.id}"

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        sent = {"Authorization": f"Bearer {self.admin.tokens[self.tenant.id]}", "If-Match": "*"} | headers
        url = f"{self.server.issuer}{API}{self.path}{path}"
        return await self.admin.browser.client.request(method, url, json=body, headers=sent)


@pytest.fixture
async def acme(server: Server, make_client: MakeClient) -> AsyncIterator[Acme]:
    tenant = await make_tenant()
    client = await make_client(scope=" ".join(["openid", *Permission]), skip_consent=True)
    async with AsyncExitStack() as stack:
        admin = await sign_in(server, stack, client, {tenant: True}, tenant.domain.domain)
        member = await sign_in(server, stack, client, {tenant: False}, tenant.domain.domain)
        yield Acme(server, tenant, admin, member)


async def test_what_an_administrator_does(acme: Acme) -> None:
    assert (await acme("PATCH", "", {"name": "Acme & Co"})).json()["name"] == "Acme & Co"
    made = await acme("POST", "/roles", {"name": "Editor"})
    assert made.status_code == 201, made.text
    role = made.json()["id"]
    inner = str(acme.tenant.role.id)
    assert (await acme("POST", f"/roles/{role}/contained", {"role_id": inner})).status_code == 204
    problem(await acme("POST", f"/roles/{inner}/contained", {"role_id": role}), 409, "wrong-state")
    assert [each["id"] for each in (await acme("GET", f"/roles/{role}/contained")).json()["items"]] == [inner]
    assert (await acme("DELETE", f"/roles/{role}/contained/{inner}")).status_code == 204
    problem(await acme("DELETE", f"/roles/{role}/contained/{inner}"), 404, "not-found")
    member = str(acme.member.user.id)
    assert (await acme("POST", f"/roles/{role}/holders", {"user_ids": [member]})).json() == {"added": 1}
    assert (await acme("DELETE", f"/roles/{role}/holders/{member}")).status_code == 204
    assert (await acme("PATCH", f"/members/{member}", {"admin": True})).json()["admin"] is True
    assert await member_states.set_enabled(acme.tenant.id, acme.member.user.id, enabled=False)
    assert (await acme("GET", f"/members/{member}")).json()["membership_disabled_at"] is not None
    for _ in range(2):
        again = await acme("POST", f"/members/{member}/reactivate")
        assert (again.status_code, again.json()["membership_disabled_at"]) == (200, None)
    assert (await acme("DELETE", f"/members/{member}")).status_code == 204
    problem(await acme("POST", f"/members/{member}/reactivate"), 404, "not-found")
    assert (await acme("POST", "/members", {"user_ids": [member]})).json() == {"added": 1}
    claimed = (await acme("POST", "/domains", {"domain": f"more.{acme.tenant.domain.domain}"})).json()
    problem(await acme("POST", f"/domains/{claimed['id']}/verify"), 409, "domain-not-verified")
    assert (await acme("DELETE", f"/domains/{claimed['id']}")).status_code == 204
    row = await fetchrow(
        "SELECT count(*) AS number FROM audit_event WHERE actor = $1 AND detail ->> 'organization_id' = $2",
        f"user:{acme.admin.user.id}",
        str(acme.tenant.id),
    )
    assert row is not None
    assert row["number"] == 12
    events = (await acme("GET", "/events?limit=20")).json()["items"]
    # SCIM has disabled a membership.
    by = {each["by"] for each in events[:13] if each["event"] != "organization_member_disabled"}
    assert by == {acme.admin.user.email}
    assert events[0]["event"] == "organization_domain_removed"
    assert events[0]["detail"] == {"domain": claimed["domain"]}


async def test_what_an_administrator_sees_of_a_member(acme: Acme) -> None:
    await roles.give(acme.tenant.role.id, [acme.member.user.id])
    await execute("UPDATE users SET disabled_at = now() WHERE id = $1", acme.member.user.id)
    shown = (await acme("GET", f"/members/{acme.member.user.id}")).json()
    assert shown.keys() == {
        *("user_id", "email", "name", "disabled_at", "admin", "origin", "created_at", "membership_disabled_at")
    }
    assert shown["disabled_at"] is None
    listed = (await acme("GET", "/members")).json()["items"]
    assert shown in listed
    (holder,) = (await acme("GET", f"/roles/{acme.tenant.role.id}/holders")).json()["items"]
    assert holder["disabled_at"] is None


async def test_whom_an_administrator_adds(acme: Acme) -> None:
    """The answer for users at other domains is that for unknown ones."""
    colleague = await create_user(f"colleague@{acme.tenant.domain.domain}", None, email_verified=True)
    stranger = await create_user(f"colleague@other.{acme.tenant.domain.domain}", None, email_verified=True)
    problem(await acme("POST", "/members", {"user_ids": [str(stranger.id)]}), 404, "not-found")
    assert (await acme("POST", "/members", {"user_ids": [str(colleague.id)]})).json() == {"added": 1}


async def test_an_administrator_remains(acme: Acme) -> None:
    own = f"/members/{acme.admin.user.id}"
    problem(await acme("DELETE", own), 409, "last-admin")
    problem(await acme("PATCH", own, {"admin": False}), 409, "last-admin")
    await organizations.set_admin(acme.tenant.id, acme.member.user.id, admin=True)
    assert (await acme("PATCH", own, {"admin": False})).status_code == 200
    problem(await acme("GET", ""), 403, "forbidden")


async def test_a_policy_that_locks_people_out(acme: Acme) -> None:
    """It must be accepted: for an enforced domain, and for those who set it, who have signed in with a password."""
    problem(await acme("PUT", "/sign_in_policy", {"ways": ["upstream", "passkey"]}), 409, "locks-out")
    wanted = {"ways": ["upstream"], "accept_lockout": True}
    assert (await acme("PUT", "/sign_in_policy", wanted)).json()["ways"] == ["upstream"]
    await domains.enforce(acme.tenant.domain.id, enforced=True)
    try:
        refused = await acme("PUT", "/sign_in_policy", {"ways": ["password"]})
        problem(refused, 409, "locks-out")
        assert acme.tenant.domain.domain in refused.json()["detail"]
    finally:
        await domains.enforce(acme.tenant.domain.id, enforced=False)
        await until_forgotten(acme.server)


async def test_an_enforced_domain_is_removed_by_administrators_of_the_server_only(acme: Acme) -> None:
    """A removal would release it."""
    path = f"/domains/{acme.tenant.domain.id}"
    await domains.enforce(acme.tenant.domain.id, enforced=True)
    try:
        refused = await acme("DELETE", path)
        problem(refused, 409, "wrong-state")
        assert "release" in refused.json()["detail"]
        assert (await acme("GET", path)).json()["enforced"] is True
    finally:
        await domains.enforce(acme.tenant.domain.id, enforced=False)
        await until_forgotten(acme.server)
    assert (await acme("DELETE", path)).status_code == 204


async def test_an_administrator_of_the_server_may_more(acme: Acme) -> None:
    """The same user with a role of the server is not limited by the organization, within the role."""
    await grant(acme.admin.user.id, Role.SUPPORT)
    await execute("UPDATE users SET disabled_at = now() WHERE id = $1", acme.member.user.id)
    stranger = await create_user(f"other@other.{acme.tenant.domain.domain}", None, email_verified=True)
    shown = (await acme("GET", f"/members/{acme.member.user.id}")).json()
    assert shown["disabled_at"] is not None
    # Support looks at organizations, and changes none: this is the administrator of the organization.
    problem(await acme("POST", "/members", {"user_ids": [str(stranger.id)]}), 404, "not-found")
    assert (await acme("PATCH", "", {"name": "By its administrator"})).status_code == 200


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_authority_that_ends_meanwhile(acme: Acme, method: str) -> None:
    """The request has been admitted when the membership is taken away; it changes nothing."""
    path = "" if method == "PATCH" else f"/members/{acme.member.user.id}"
    async with transaction():
        await delegation.hold(acme.admin.user.id, acme.tenant.id)
        request = asyncio.create_task(acme(method, path, {"name": "Stolen"} if method == "PATCH" else None))
        await _until_waiting()
        await execute(
            "UPDATE organization_member SET admin = false WHERE organization_id = $1 AND user_id = $2",
            acme.tenant.id,
            acme.admin.user.id,
        )
    problem(await request, 403, "forbidden")
    row = await fetchrow("SELECT name FROM organization WHERE id = $1", acme.tenant.id)
    assert row is not None
    assert row["name"] == acme.tenant.organization.name
    assert await organizations.repository.members_among(acme.tenant.id, [acme.member.user.id])


async def _until_waiting() -> None:
    statement = """
        SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
    """
    for _ in range(600):
        if await fetchrow(statement) is not None:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("The request does not wait for the membership.")


async def test_an_administrator_invites(acme: Acme) -> None:
    """And does not learn who accepted or invited, or whether the address has an account."""
    stranger = await create_user(f"{acme.tenant.organization.slug}@elsewhere.example", None, email_verified=True)
    made = (await acme("POST", "/invitations", {"email": stranger.email, "admin": True})).json()
    assert (made["state"], made["invited_by"], made["user_id"]) == ("open", None, None)
    await invited.decline(UUID(made["id"]), stranger.id)
    shown = (await acme("GET", f"/invitations/{made['id']}")).json()
    assert (shown["state"], shown["user_id"]) == ("declined", None)
    assert shown in (await acme("GET", "/invitations?open=false")).json()["items"]
    problem(await acme("POST", f"/invitations/{made['id']}/resend"), 404, "not-found")
