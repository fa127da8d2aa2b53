"""The pages for administrators of an organization."""

import re
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from idp import ids
from idp.accounts.users import create_user
from idp.directory import domains, invitations, invited, member_states, organizations, roles
from idp.directory.sign_in_policy import NO_POLICY, SignInPolicy
from idp.directory.sign_in_policy_changes import policy_of, set_policy
from idp.infra.db.engine import execute, fetch, transaction
from idp.scim import tokens
from idp.scim.repository.tokens import find_token
from idp.scim.tokens import UnknownTokenError
from idp.selfservice.organization.page import PREFIX
from idp.signin.csrf import form_token
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, as_page, open_browser
from tests.support.mailbox import Mailbox
from tests.support.nameserver import Nameserver
from tests.support.realms import until_forgotten
from tests.support.routes import Route, routes
from tests.support.server import Server
from tests.support.tenants import Someone, Tenant, make_tenant, sign_in

PAGES = [route for route in routes() if route.path.startswith(PREFIX)]
#: Pages that an administrator may see, and changes that they may make, without a recent sign-in.
WITHOUT_RECENT_SIGN_IN = {
    "GET ", "GET /domains", "GET /domains/add", "GET /domains/{domain_id:uuid}", "GET /events", "GET /invitations",
    "GET /invitations/{invitation_id:uuid}", "GET /members/{user_id:uuid}", "GET /name", "GET /policy", "GET /roles",
    "GET /roles/add", "GET /roles/{role_id:uuid}", "GET /roles/{role_id:uuid}/change", "GET /scim",
    "GET /scim/{token_id:uuid}", "POST /domains/add", "POST /name", "POST /roles/add",
    "POST /roles/{role_id:uuid}/change",
}  # fmt: skip


def short(route: Route) -> str:
    return f"{route.method} {route.path.removeprefix(PREFIX)}"


class Acme:
    """An organization with an administrator and a member, both signed in."""

    def __init__(self, tenant: Tenant, admin: Someone, member: Someone) -> None:
        self.tenant, self.admin, self.member = tenant, admin, member

    @property
    def path(self) -> str:
        return f"/organization/{self.tenant.organization.slug}"

    def url(self, route: Route) -> str:
        ids = {
            "slug": self.tenant.organization.slug, "user_id": str(self.member.user.id),
            "role_id": str(self.tenant.role.id), "contained_id": str(self.tenant.contained.id),
            "domain_id": str(self.tenant.domain.id), "invitation_id": str(self.tenant.invitation_id),
            "token_id": str(self.tenant.token_id),
        }  # fmt: skip
        return route.url(**ids)

    async def get(self, path: str = "", **query: str) -> Page:
        return as_page(await self.admin.browser.get(f"{self.path}{path}", **query))

    async def confirm(self, path: str, **fields: str) -> Page:
        """Open the page and send its form."""
        page = await self.get(path)
        assert page.status == 200, page.text
        return as_page(await self.admin.browser.submit(page, "confirm", **fields))


@pytest.fixture
async def acme(server: Server, make_client: MakeClient) -> AsyncIterator[Acme]:
    tenant = await make_tenant()
    client = await make_client(skip_consent=True)
    async with AsyncExitStack() as stack:
        admin = await sign_in(server, stack, client, {tenant: True}, tenant.domain.domain, tokens=False)
        member = await sign_in(server, stack, client, {tenant: False}, tenant.domain.domain, tokens=False)
        yield Acme(tenant, admin, member)


async def test_the_account_leads_there(acme: Acme) -> None:
    """Only those who manage an organization see the link."""
    page = as_page(await acme.admin.browser.get("/account/organizations"))
    assert f'href="{acme.path}"' in page.text
    assert acme.path not in as_page(await acme.member.browser.get("/account/organizations")).text


async def test_members(acme: Acme) -> None:
    member = acme.member.user
    page = await acme.get()
    assert member.email in page.text
    assert acme.admin.user.email in (await acme.get(q=acme.admin.user.email[:10])).text
    assert member.email not in (await acme.get(q=acme.admin.user.email[:10])).text
    # A part of the name.
    assert member.email in (await acme.get(q=str(member.name).split()[1])).text
    assert "No member has" in (await acme.get(q="nobody at all")).text
    shown = await acme.get(f"/members/{member.id}")
    assert str(member.name) in shown.text
    given = await acme.confirm(f"/members/{member.id}/give", role=str(acme.tenant.role.id))
    assert acme.tenant.role.name in given.text
    taken = await acme.confirm(f"/members/{member.id}/take/{acme.tenant.role.id}")
    assert acme.tenant.role.name not in taken.text
    asked = await acme.get(f"/members/{member.id}/admin")
    assert member.email in asked.text
    assert "manages the organisation from now on" in (await acme.confirm(f"/members/{member.id}/admin")).text
    assert "no longer manages" in (await acme.confirm(f"/members/{member.id}/admin")).text
    assert "member-reactivate" not in shown.ids
    async with transaction():
        assert await member_states.set_enabled(acme.tenant.id, member.id, enabled=False)
    assert "disabled by your directory" in (await acme.get()).text
    assert "member-reactivate" in (await acme.get(f"/members/{member.id}")).ids
    back = await acme.confirm(f"/members/{member.id}/reactivate")
    assert "is active again" in back.text
    assert "member-reactivate" not in back.ids
    assert "The member is removed" in (await acme.confirm(f"/members/{member.id}/remove")).text
    assert (await acme.get(f"/members/{member.id}")).status == 404
    added = await acme.confirm("/members/add", email=member.email.upper())
    assert "The member is added" in added.text
    actor = f"user:{acme.admin.user.id}"
    rows = await fetch("SELECT event FROM audit_event WHERE actor = $1 ORDER BY id", actor)
    assert [row["event"] for row in rows] == [
        "user_role_granted", "user_role_revoked", "organization_admin_granted", "organization_admin_revoked",
        "organization_member_enabled", "organization_member_removed", "organization_member_added",
    ]  # fmt: skip
    events = await acme.get("/events")
    assert f"Added: {member.email}" in events.text
    assert f"by {acme.admin.user.email}" in events.text


async def test_who_accepted_an_invitation(acme: Acme) -> None:
    """Who accepts acts for themselves, which the trail records without an actor."""
    user = acme.member.user
    await organizations.remove_members(acme.tenant.id, [user.id])
    sent = await invitations.invite(acme.tenant.id, user.email)
    await invited.accept(sent.invitation.id, user.id)
    page = await acme.get("/events")
    item = page.text.partition(f"Accepted an invitation: {user.email}")[2].partition("</li>")[0]
    assert f"by {user.email}" in item


async def test_whom_an_administrator_adds(acme: Acme) -> None:
    """An address at another domain is not looked up; the answer for one with an account is that for one without."""
    domain = acme.tenant.domain.domain
    await create_user(f"there@other.{domain}", None, email_verified=True)
    await create_user(f"unconfirmed@{domain}", None)
    texts = {}
    for email in (f"there@other.{domain}", f"nobody@other.{domain}", f"unconfirmed@{domain}", f"nobody@{domain}", "x"):
        page = await acme.confirm("/members/add", email=email)
        assert page.status == 422
        texts[email] = re.sub(r'value="[^"]*"', "", page.text)
    assert texts[f"there@other.{domain}"] == texts[f"nobody@other.{domain}"]
    assert texts[f"unconfirmed@{domain}"] == texts[f"nobody@{domain}"]


async def test_an_administrator_remains(acme: Acme) -> None:
    own = acme.admin.user.id
    for act in ("admin", "remove"):
        page = await acme.confirm(f"/members/{own}/{act}")
        assert (page.status, "No one else manages the organisation" in page.text) == (409, True)
    await organizations.set_admin(acme.tenant.id, acme.member.user.id, admin=True)
    left = await acme.confirm(f"/members/{own}/remove")
    assert "You are no longer a member" in left.text
    assert (await acme.get()).status == 404


async def test_an_administrator_whose_account_the_organization_made(acme: Acme) -> None:
    """They cannot leave, as on the account page; another administrator removes them."""
    own = acme.admin.user.id
    await organizations.set_admin(acme.tenant.id, acme.member.user.id, admin=True)
    await execute("UPDATE organization_member SET managed = true WHERE user_id = $1", own)
    page = await acme.confirm(f"/members/{own}/remove")
    assert (page.status, "manages your account through its directory" in page.text) == (409, True)
    assert (await acme.get()).status == 200


async def test_roles(acme: Acme) -> None:
    made = await acme.confirm("/roles/add", name="Editor", description="Changes articles")
    path = made.path.removeprefix(acme.path)
    assert "The role is created" in made.text
    assert (await acme.confirm("/roles/add", name="EDITOR")).status == 409
    assert (await acme.confirm("/roles/add", name="")).status == 422
    changed = await acme.confirm(f"{path}/change", name="Author")
    assert "Author" in changed.text
    contained = await acme.confirm(f"{path}/contain", role=str(acme.tenant.role.id))
    assert acme.tenant.role.name in contained.text
    cycle = await acme.confirm(f"/roles/{acme.tenant.role.id}/contain", role=path.rpartition("/")[2])
    assert (cycle.status, "cannot contain itself" in cycle.text) == (409, True)
    assert "no longer contains it" in (await acme.confirm(f"{path}/release/{acme.tenant.role.id}")).text
    given = await acme.confirm(f"{path}/give", email=acme.member.user.email)
    assert acme.member.user.email in given.text
    assert "The role is deleted" in (await acme.confirm(f"{path}/delete")).text
    assert (await acme.get(path)).status == 404


async def test_a_role_for_an_unknown_address(acme: Acme) -> None:
    """It says what it says of a user who is not a member."""
    stranger = await create_user(f"{secrets.token_hex(6)}@example.com", None, email_verified=True)
    texts = []
    for email in (stranger.email, f"{secrets.token_hex(6)}@example.com"):
        page = await acme.confirm(f"/roles/{acme.tenant.role.id}/give", email=email)
        assert page.status == 422
        texts.append(re.sub(r'value="[^"]*"', "", page.text))
    assert texts[0] == texts[1]


async def test_a_form_that_is_out_of_date(acme: Acme) -> None:
    page = await acme.get(f"/roles/{acme.tenant.role.id}/change")
    await roles.update(acme.tenant.role.id, description="Changed elsewhere")
    answer = as_page(await acme.admin.browser.submit(page, "confirm", name="Mine"))
    assert "has been changed in the meantime" in answer.text


async def test_domains(acme: Acme, nameserver: Nameserver) -> None:
    domain = f"{secrets.token_hex(6)}.example"
    claimed = await acme.confirm("/domains/add", domain=domain)
    assert f"_idp-challenge.{domain}" in claimed.text
    assert (await acme.confirm("/domains/add", domain="no domain")).status == 422
    assert (await acme.confirm("/domains/add", domain=domain)).status == 409
    missing = as_page(await acme.admin.browser.submit(claimed, "domain-verify"))
    assert (missing.status, "The record was not found" in missing.text) == (409, True)
    path = claimed.path.removeprefix(acme.path)
    assert "The domain is removed" in (await acme.confirm(f"{path}/remove")).text


async def test_an_enforced_domain_stays(acme: Acme, server: Server) -> None:
    await domains.enforce(acme.tenant.domain.id, enforced=True)
    path = f"/domains/{acme.tenant.domain.id}"
    try:
        refused = await acme.confirm(f"{path}/remove")
        assert (refused.status, "The domain is enforced." in refused.text) == (409, True)
        assert acme.tenant.domain.domain in (await acme.get(path)).text
    finally:
        await domains.enforce(acme.tenant.domain.id, enforced=False)
        await until_forgotten(server)


async def test_inviting(acme: Acme, mailbox: Mailbox) -> None:
    """Several at once, with roles. Those who cannot be invited stay in the form, with the reasons."""
    one, two = [f"{secrets.token_hex(6)}@example.com" for _ in range(2)]
    role = {f"role_{acme.tenant.role.id}": "on"}
    page = await acme.confirm("/invitations/add", emails=f"{one}, {two.upper()}", **role)
    assert "The invitations were sent" in page.text
    for email in (one, two):
        assert email in page.text
        assert (await mailbox.next(email)).path.startswith(invitations.PATH)
    some = f"{one}\n{acme.member.user.email}\n3{two}"
    again = await acme.confirm("/invitations/add", emails=some, admin="on", **role)
    assert again.status == 422
    assert "1 invitation was sent." in again.text
    assert "The address has an open invitation already" in again.text
    assert "is already a member" in again.text
    kept = re.search(r"<textarea[^>]*>([^<]*)</textarea>", again.text)
    assert kept is not None
    assert kept[1].split() == [one, acme.member.user.email]
    assert re.search(rf'name="role_{acme.tenant.role.id}"[^>]* checked', again.text)
    rows = await fetch(
        "SELECT email, admin, role_ids, invited_by FROM organization_invitation WHERE organization_id = $1 ORDER BY id",
        acme.tenant.id,
    )
    assert [(row["email"], row["admin"]) for row in rows[1:]] == [(one, False), (two, False), (f"3{two}", True)]
    assert {(tuple(row["role_ids"]), row["invited_by"]) for row in rows[1:]} == {
        ((acme.tenant.role.id,), acme.admin.user.id)
    }


@pytest.mark.parametrize("emails", ["", "no address", " ".join(f"a{n}@example.com" for n in range(21))])
async def test_addresses_that_cannot_be_invited(emails: str, acme: Acme) -> None:
    """Then nobody is."""
    before = await fetch("SELECT FROM organization_invitation WHERE organization_id = $1", acme.tenant.id)
    page = await acme.confirm("/invitations/add", emails=f"a@example.com {emails}" if "no" in emails else emails)
    assert page.status == 422
    assert await fetch("SELECT FROM organization_invitation WHERE organization_id = $1", acme.tenant.id) == before


async def test_an_invitation(acme: Acme, mailbox: Mailbox) -> None:
    """It is sent again, within the limits, and revoked. Of those who invited only members are named."""
    invited, invitation_id = acme.tenant.invited, acme.tenant.invitation_id
    path, stranger = f"/invitations/{invitation_id}", await create_user(f"{secrets.token_hex(6)}@example.com", None)
    by = "UPDATE organization_invitation SET invited_by = $1 WHERE id = $2"
    await execute(by, stranger.id, invitation_id)
    page = await acme.get(path)
    assert acme.tenant.role.name in page.text
    assert stranger.email not in page.text
    assert str(stranger.id) not in page.text
    await execute(
        "UPDATE organization_invitation SET invited_by = $1 WHERE id = $2", acme.member.user.id, invitation_id
    )
    page = await acme.get(path)
    assert str(acme.member.user.name) in page.text
    sent = as_page(await acme.admin.browser.submit(page, "invitation-resend"))
    assert "was sent again" in sent.text
    assert (await mailbox.next(invited, 2)).path.startswith(invitations.PATH)
    for _ in range(2):
        sent = as_page(await acme.admin.browser.submit(page, "invitation-resend"))
    assert (sent.status, "Too many attempts" in sent.text) == (429, True)
    assert "The invitation is revoked" in (await acme.confirm(f"{path}/revoke")).text
    refused = as_page(await acme.admin.browser.submit(page, "invitation-resend"))
    assert (refused.status, "was used, declined or revoked" in refused.text) == (404, True)
    assert invited in (await acme.get("/invitations")).text
    assert invited not in (await acme.get("/invitations", open="true")).text


async def test_the_sign_in_policy(acme: Acme, server: Server) -> None:
    """It is set as a whole. One that locks people out is asked about first."""
    page = await acme.confirm("/policy", second_factor="on", session_max_age="28800", password="on")
    assert "Saved." in page.text
    chosen = SignInPolicy(second_factor=True, session_max_age=28_800, ways=("password",))
    assert await policy_of(acme.tenant.id) == chosen
    page = await acme.get("/policy")
    for mark in ('value="28800" selected>8 hours', 'name="second_factor"[^>]* checked', 'name="password"[^>]* checked'):
        assert re.search(mark, page.text), mark
    await organizations.rename(acme.tenant.id, "Renamed meanwhile")
    assert "changed in the meantime" in as_page(await acme.admin.browser.submit(page, "confirm")).text
    await set_policy(acme.tenant.id)
    await domains.enforce(acme.tenant.domain.id, enforced=True)
    try:
        refused = await acme.confirm("/policy", email_code="on")
        assert refused.status == 409
        assert f"Addresses at {acme.tenant.domain.domain} sign in at the provider" in refused.text
        assert "The way you signed in is not allowed by this policy" in refused.text
        assert await policy_of(acme.tenant.id) == NO_POLICY
        saved = as_page(await acme.admin.browser.submit(refused, "confirm", accept_lockout="on"))
        assert "Saved." in saved.text
        assert await policy_of(acme.tenant.id) == SignInPolicy(ways=("email_code",))
    finally:
        await domains.enforce(acme.tenant.domain.id, enforced=False)
        await until_forgotten(server)


@pytest.mark.parametrize("length", ["1", "-1", "abc", "9999999999"])
async def test_a_length_that_is_not_offered(length: str, acme: Acme) -> None:
    page = await acme.confirm("/policy", session_idle=length)
    assert page.status == 422
    assert await policy_of(acme.tenant.id) == NO_POLICY


async def test_scim_tokens(acme: Acme, server: Server) -> None:
    """One is shown once, has the organization only, gets another value, and is revoked."""
    made = await acme.confirm("/scim/add", name="Entra ID", days="90", writes="on")
    found = re.search(r'id="token-value"[^>]*>([^<]+)<', made.text)
    assert found is not None
    token, path = found[1], "/scim/" + await _token_id(acme, "Entra ID")

    async def works(token: str) -> bool:
        live = await find_token(ids.digest(token))
        return live is not None and live.organization_id == acme.tenant.id and live.writes

    assert await works(token)
    shown = await acme.get(path)
    assert token not in shown.text
    assert f"{server.issuer}/scim/v2" in shown.text
    rotated = await acme.confirm(f"{path}/rotate", overlap="0")
    second = re.search(r'id="token-value"[^>]*>([^<]+)<', rotated.text)
    assert second is not None
    assert (await works(token), await works(second[1])) == (False, True)
    assert "The token is revoked." in (await acme.confirm(f"{path}/revoke")).text
    assert not await works(second[1])
    assert (await acme.get(path)).status == 404
    events = (await acme.get("/events")).text
    for words in ("was created", "got a new value", "was deleted"):
        assert f"SCIM token Entra ID {words}" in events


async def _token_id(acme: Acme, name: str) -> str:
    (row,) = await fetch("SELECT id FROM scim_token WHERE organization_id = $1 AND name = $2", acme.tenant.id, name)
    return str(row["id"])


async def test_how_many_scim_tokens(acme: Acme) -> None:
    for number in range(tokens.MAX_OF_ORGANIZATION - 1):
        await tokens.create(f"Token {number}", organization_id=acme.tenant.id)
    refused = await acme.confirm("/scim/add", name="One more")
    assert (refused.status, "has too many SCIM tokens" in refused.text) == (409, True)
    assert (await acme.confirm("/scim/add", name="")).status == 422
    with pytest.raises(UnknownTokenError):
        await tokens.delete(acme.tenant.token_id, organization_id=acme.tenant.role.id)
    with pytest.raises(UnknownTokenError):
        await tokens.rotate(acme.tenant.token_id, organization_id=acme.tenant.role.id)


async def test_the_name(acme: Acme) -> None:
    assert "Acme &amp; Co" in (await acme.confirm("/name", name="Acme & Co")).text
    assert (await acme.confirm("/name", name="")).status == 422
    page = await acme.get("/name")
    await organizations.rename(acme.tenant.id, "Changed elsewhere")
    answer = as_page(await acme.admin.browser.submit(page, "confirm", name="Mine"))
    assert "has been changed in the meantime" in answer.text


@pytest.mark.parametrize("route", PAGES, ids=short)
async def test_who_sees_what(route: Route, acme: Acme, browser: Browser) -> None:
    """A member, and an administrator of a disabled organization: as if there were none. Others sign in."""
    token = {"csrf_token": form_token(acme.member.session, "account")}
    for someone, url in ((acme.member, acme.url(route)), (acme.admin, acme.url(route).replace("tenant-", "t-"))):
        own = {"csrf_token": form_token(someone.session, "account")}
        client, issuer = someone.browser.client, someone.browser.issuer
        answer = await client.request(
            route.method, issuer + url, data=own if route.method == "POST" else None, headers={"Origin": issuer}
        )
        assert answer.status_code == 404
    nobody = await browser.client.request(
        route.method, browser.issuer + acme.url(route), data=token if route.method == "POST" else None,
        headers={"Origin": browser.issuer},
    )  # fmt: skip
    assert nobody.headers["location"].startswith("/login/")


@pytest.mark.parametrize("route", PAGES, ids=short)
async def test_a_recent_sign_in_of_the_level(route: Route, acme: Acme) -> None:
    """Changes that give or take power need a recent one, and all pages the level of administration."""
    client, issuer = acme.admin.browser.client, acme.admin.browser.issuer
    form = {"csrf_token": form_token(acme.admin.session, "account"), "name": "x"}

    async def leads_to_a_sign_in() -> bool:
        answer = await client.request(
            route.method, issuer + acme.url(route), data=form if route.method == "POST" else None,
            headers={"Origin": issuer},
        )  # fmt: skip
        assert answer.status_code < 500
        return bool(answer.has_redirect_location and answer.headers["location"].startswith("/login/"))

    of_the_admin = "UPDATE session SET {} WHERE user_id = $1"
    await execute(of_the_admin.format("auth_time = now() - interval '1 hour'"), acme.admin.user.id)
    assert await leads_to_a_sign_in() == (short(route) not in WITHOUT_RECENT_SIGN_IN)
    await execute(of_the_admin.format("auth_time = now(), acr = '1'"), acme.admin.user.id)
    assert await leads_to_a_sign_in()


@pytest.mark.parametrize("route", [route for route in PAGES if route.method == "POST"], ids=short)
async def test_forms_of_other_sites(route: Route, acme: Acme) -> None:
    client, issuer = acme.admin.browser.client, acme.admin.browser.issuer
    right = form_token(acme.admin.session, "account")
    for token, origin in (
        (right, "https://evil.example"),
        (right, "null"),
        ("", issuer),
        (form_token(acme.member.session, "account"), issuer),
    ):  # fmt: skip
        answer = await client.post(issuer + acme.url(route), data={"csrf_token": token}, headers={"Origin": origin})
        assert answer.status_code == 400, (token, origin)


async def test_in_other_languages(acme: Acme) -> None:
    for language, word in (("de", "Mitglieder"), ("es", "Miembros"), ("fr", "Membres")):
        answer = await acme.admin.browser.client.get(
            f"{acme.admin.browser.issuer}{acme.path}", headers={"Accept-Language": language}
        )
        assert word in answer.text


async def test_pages_of_a_long_list(acme: Acme, server: Server) -> None:
    statement = """
        WITH made AS (
            INSERT INTO users (id, email, name, origin)
            SELECT gen_random_uuid(), $2 || n || '@example.com', 'Many', 'admin' FROM generate_series(1, 60) AS n
            RETURNING id, email
        ), found AS (INSERT INTO user_email (email, user_id) SELECT email, id FROM made)
        INSERT INTO organization_member (user_id, organization_id, origin) SELECT id, $1, 'admin' FROM made
    """
    await execute(statement, acme.tenant.id, secrets.token_hex(6))
    first = await acme.get(q="Many")
    link = re.search(r'id="next-page" href="([^"]*)"', first.text)
    assert link is not None
    rest = as_page(await acme.admin.browser.get(link[1].replace("&amp;", "&")))
    names = [page.text.count("/members/") for page in (first, rest)]
    assert names == [51, 11]  # with the link to add one
    async with open_browser(server.issuer) as stranger:
        assert "login-submit" in as_page(await stranger.get(acme.path)).ids
