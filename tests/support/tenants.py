"""Organizations with their administrators and members, for tests of what one sees and changes of another."""

import random
import secrets
from collections.abc import Collection
from contextlib import AsyncExitStack
from typing import Any, NamedTuple
from uuid import UUID

from idp import ids
from idp.accounts.tables import User
from idp.accounts.users import create_user
from idp.directory import domains, invitations, organizations, roles
from idp.directory.models import Domain, Organization, Role
from idp.directory.repository.domains import verify_domain
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.scim import tokens
from idp.signin.transitions import Step
from tests.support.browser import Browser, as_page, open_browser
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.person import equip
from tests.support.server import Server


class Tenant(NamedTuple):
    """An organization with what it had at first."""

    organization: Organization
    role: Role
    contained: Role
    domain: Domain
    invitation_id: UUID
    token_id: UUID
    invited: str

    @property
    def id(self) -> UUID:
        return self.organization.id


async def make_tenant() -> Tenant:
    """Create an organization with two roles, one in the other, a verified domain, and an invitation."""
    mark = secrets.token_hex(6)
    organization = await organizations.create(f"tenant-{mark}", f"Tenant {mark}")
    role = await roles.create(f"outer {secrets.token_hex(6)}", organization_id=organization.id)
    contained = await roles.create(f"inner {secrets.token_hex(6)}", organization_id=organization.id)
    await roles.contain(role.id, contained.id)
    domain = await domains.claim(organization.id, f"{mark}.example")
    verified = await verify_domain(domain.id, domain.token, 86400)
    assert verified is not None
    sent = await invitations.invite(organization.id, f"invited-{mark}@elsewhere.example", role_ids=[role.id])
    token_id, _ = await tokens.create(f"directory {mark}", organization_id=organization.id)
    return Tenant(organization, role, contained, verified, sent.invitation.id, token_id, sent.invitation.email)


class Someone(NamedTuple):
    """A signed-in user, with an access token of the admin API for each organization that they were in.

    Attributes:
        session: the value of the cookie of the session.
        tokens: by organization.
    """

    user: User
    browser: Browser
    session: str
    tokens: dict[UUID, str]


async def sign_in(
    server: Server,
    stack: AsyncExitStack,
    client: RelyingParty,
    of: dict[Tenant, bool],
    domain: str,
    *,
    tokens: bool = True,
) -> Someone:
    """Create a user and sign in with two factors.

    Args:
        client: may request scopes of the admin API.
        of: the organizations of the user, and whether the user manages each.
        domain: that of the address.
    """
    name = f"Person {secrets.token_hex(6)}"
    user = await create_user(f"{secrets.token_hex(8)}@{domain}", PASSWORD, name=name, email_verified=True)
    for tenant, admin in of.items():
        await organizations.add_members(tenant.id, [user.id])
        if admin:
            await organizations.set_admin(tenant.id, user.id, admin=True)
    person = await equip(user, server.issuer, [Step.TOTP], two_step=True)
    browser = await stack.enter_async_context(open_browser(server.issuer))
    step = as_page(await browser.sign_in(as_page(await browser.get("/login")), user.email, PASSWORD))
    await browser.submit(step, "totp-submit", code=await person.otp())
    resource = f"{server.issuer}/admin/api"
    issued = {}
    for tenant in of if tokens else ():
        found = await client.tokens(browser, user.email, resource=resource, organization=tenant.organization.slug)
        issued[tenant.id] = str(found["access_token"])
    session = next(value for name, value in browser.cookies.items() if name.endswith("session"))
    return Someone(user, browser, session, issued)


class Standing(NamedTuple):
    """Who is in one organization now.

    Attributes:
        enabled: whether the organization is.
    """

    enabled: bool
    members: frozenset[UUID]
    admins: frozenset[UUID]


async def standing(tenant: Tenant) -> Standing:
    row = await fetchrow("SELECT disabled_at FROM organization WHERE id = $1", tenant.id)
    rows = await fetch("SELECT user_id, admin FROM organization_member WHERE organization_id = $1", tenant.id)
    members = frozenset(each["user_id"] for each in rows)
    admins = frozenset(each["user_id"] for each in rows if each["admin"])
    return Standing(row is not None and row["disabled_at"] is None, members, admins)


_TABLES = """
SELECT table_name FROM information_schema.columns
WHERE table_schema = current_schema() AND column_name = 'organization_id'
ORDER BY table_name
"""
#: What sign-ins write about the organization for which they are.
_OF_SIGN_INS = {"authorization_code", "authorization_request", "token_family"}
#: Rows of no organization, by the tables that name it.
_RELATED = {
    "organization": "id = $1",
    "role_contained": "role_id IN (SELECT id FROM role WHERE organization_id = $1)",
    # Those of roles that were deleted go in the background.
    "user_role": "organization_id = $1 AND role_id IN (SELECT id FROM role)",
    "audit_event": "detail ->> 'organization_id' = $1::text",
    "users": "id IN (SELECT user_id FROM organization_member WHERE organization_id = $1) AND id <> ALL ($2)",
}
#: Columns that are written in the background.
_BACKGROUND = "'{seq,hash,checked_at,next_check_at}'::text[]"


async def contents(tenant: Tenant, but: Collection[UUID] = ()) -> dict[str, list[str]]:
    """Return every row of an organization, by table: of each table that names organizations, and of its users.

    Args:
        but: users whose own rows are left out, because they are in another organization too.
    """
    tables = {row["table_name"]: "organization_id = $1" for row in await fetch(_TABLES)}
    conditions = {name: where for name, where in tables.items() if name not in _OF_SIGN_INS} | _RELATED
    parts = [
        f"SELECT '{name}' AS name, (to_jsonb(t) - {_BACKGROUND})::text AS content FROM {name} AS t WHERE {where}"
        for name, where in conditions.items()
    ]
    statement = " UNION ALL ".join(parts).replace("$1", "$1::uuid").replace("$2", "$2::uuid[]")
    rows = await fetch(statement, tenant.id, list(but))
    found: dict[str, list[str]] = {name: [] for name in conditions}
    for row in rows:
        found[row["name"]].append(row["content"])
    return {name: sorted(values) for name, values in found.items()}


async def known_by(tenant: Tenant, but: Collection[UUID]) -> set[str]:
    """Return every id, name, address and domain of an organization and its members, without some of these."""
    found = {str(tenant.id), tenant.organization.slug}
    row = await fetchrow("SELECT name FROM organization WHERE id = $1", tenant.id)
    found |= {row["name"]} if row is not None else set()
    for statement in (
        "SELECT id::text, name AS text FROM role WHERE organization_id = $1",
        "SELECT id::text, token AS text FROM organization_domain WHERE organization_id = $1",
        "SELECT id::text, email AS text FROM organization_invitation WHERE organization_id = $1",
        "SELECT id::text, name AS text FROM scim_token WHERE organization_id = $1",
    ):
        for each in await fetch(statement, tenant.id):
            found |= {each["id"], each["text"]}
    # A member of another organization may have an address at this domain.
    statement = """
        SELECT domain FROM organization_domain WHERE organization_id = $1 AND domain NOT IN (
            SELECT split_part(email, '@', -1) FROM users WHERE id = ANY ($2::uuid[]))
    """
    found |= {each["domain"] for each in await fetch(statement, tenant.id, list(but))}
    statement = """
        SELECT u.id::text, u.email, u.name FROM organization_member AS m JOIN users AS u ON u.id = m.user_id
        WHERE m.organization_id = $1 AND m.user_id <> ALL ($2::uuid[])
    """
    for each in await fetch(statement, tenant.id, list(but)):
        found |= {each["id"], each["email"], each["name"]}
    return found


async def shuffle(rng: random.Random, tenants: list[Tenant], people: list[Someone]) -> str:
    """Change something, as administrators of the server may. Returns what."""
    tenant, someone = rng.choice(tenants), rng.choice(people)
    where, who = tenant.organization.slug, someone.user.id
    match rng.choice(
        ["join", "join", "leave", "admin", "admin", "member", "role", "give", "disable", "enable", "enable"]
    ):
        case "join":
            await organizations.add_members(tenant.id, [who])
            return f"{who} joins {where}"
        case "leave":
            await organizations.remove_members(tenant.id, [who])
            return f"{who} leaves {where}"
        case "admin" | "member" as change:
            if who in (await standing(tenant)).members:
                await organizations.set_admin(tenant.id, who, admin=change == "admin")
            return f"{who} is {change} of {where}"
        case "role":
            await roles.create(f"more {secrets.token_hex(6)}", organization_id=tenant.id)
            return f"a role in {where}"
        case "give":
            rows = await fetch("SELECT id FROM role WHERE organization_id = $1 ORDER BY id", tenant.id)
            if rows and who in (await standing(tenant)).members:
                await roles.give(rng.choice(rows)["id"], [who])
            return f"{who} gets a role of {where}"
        case "disable":
            await organizations.disable(tenant.id)
            return f"{where} is disabled"
        case _:
            await organizations.enable(tenant.id)
            return f"{where} is enabled"


async def some_ids(tenant: Tenant) -> dict[str, list[str]]:
    """Return the ids of an organization by the names that paths and bodies have for them."""

    async def column(statement: str) -> list[str]:
        return [row["id"] for row in await fetch(statement, tenant.id)]

    role_ids = await column("SELECT id::text FROM role WHERE organization_id = $1 ORDER BY id")
    return {
        "organization_id": [str(tenant.id)],
        "user_id": await column(
            "SELECT user_id::text AS id FROM organization_member WHERE organization_id = $1 ORDER BY user_id"
        ),
        "role_id": role_ids,
        "contained_id": role_ids,
        "invitation_id": await column(
            "SELECT id::text FROM organization_invitation WHERE organization_id = $1 ORDER BY id"
        ),
        "domain_id": await column("SELECT id::text FROM organization_domain WHERE organization_id = $1 ORDER BY id"),
        "token_id": await column("SELECT id::text FROM scim_token WHERE organization_id = $1 ORDER BY id"),
    }


async def restore(tenant: Tenant, of: dict[UUID, bool]) -> None:
    """Enable an organization, give it these members, with whether each manages it, and a role, a domain and a
    SCIM token if it has none any more.
    """
    await organizations.enable(tenant.id)
    await organizations.add_members(tenant.id, list(of))
    for user_id, admin in of.items():
        await organizations.set_admin(tenant.id, user_id, admin=admin)
    await execute(
        "DELETE FROM organization_member WHERE organization_id = $1 AND user_id <> ALL ($2::uuid[])",
        tenant.id,
        list(of),
    )
    left = await some_ids(tenant)
    if not left["role_id"]:
        await roles.create(f"again {secrets.token_hex(6)}", organization_id=tenant.id)
    if not left["domain_id"]:
        await domains.claim(tenant.id, f"{secrets.token_hex(6)}.example")
    if not left["token_id"]:
        await tokens.create(f"again {secrets.token_hex(6)}", organization_id=tenant.id)


def unknown() -> str:
    """Return an id that nothing has."""
    return str(ids.uuid7())


def answer_of(body: Any) -> Any:
    """Return the body of an error without the id of the request."""
    return {name: value for name, value in body.items() if name != "instance"} if isinstance(body, dict) else body
