"""Organisations in the console, from the form to the database."""

import secrets

from idp.directory import effective, member_states, organizations
from idp.directory.models import OrganizationMembership
from idp.directory.sign_in_policy import NO_POLICY, SignInPolicy
from idp.directory.sign_in_policy_changes import policy_of
from idp.infra.db.engine import execute, fetch
from tests.admin.console.conftest import Admin
from tests.conftest import MakeUser
from tests.support.browser import Page, as_page
from tests.support.directory import an_organization
from tests.support.nameserver import Nameserver
from tests.support.realms import an_enforced_domain
from tests.support.server import Server


async def test_an_organization_is_created_filled_and_deleted(owner: Admin, make_user: MakeUser) -> None:
    slug, user, other = f"acme-{secrets.token_hex(6)}", await make_user(name="Zora"), await make_user()
    page = await owner.confirm("/admin/organizations/new", slug=slug, name="Acme")
    assert "Saved." in page.text
    made = await organizations.named(slug)
    path = f"/admin/organizations/{made.id}"
    assert page.path == path
    assert slug in (await owner.get(f"/admin/organizations?q={slug.upper()}")).text
    await _submit(owner, f"{path}/members", users=f"{user.email}\n{other.email.upper()}")
    page = await owner.get(path)
    assert all(text in page.text for text in (user.email, "Zora", other.email))
    for name in ("Editor", "Reader"):
        await _submit(owner, f"{path}/roles", name=name, description="Of articles")
    member = f"{path}/members/{user.id}"
    page = await owner.confirm(f"{member}/give_role", role="READER")
    assert page.path == member
    page = await owner.confirm(f"{member}/give_role", role="Editor")
    assert all(text in page.text for text in ("Editor", "Reader"))
    assert (await owner.confirm(f"{member}/give_role", role="Nothing")).status == 400
    (reader,) = await fetch("SELECT id FROM role WHERE organization_id = $1 AND name = 'Reader'", made.id)
    # The role that was given meanwhile stays.
    shown = await owner.get(f"{member}/roles/{reader['id']}/take")
    page = as_page(await owner.browser.submit(shown, "confirm"))
    assert "Editor" in page.text
    assert "Reader" not in page.text
    assert (await owner.get(f"{member}/roles/{reader['id']}/take")).status == 404
    assert "End managing" in (await owner.confirm(f"{member}/make_admin")).text
    assert "Let manage" in (await owner.confirm(f"{member}/end_admin")).text
    assert "Reactivate" not in (await owner.get(member)).text
    assert await member_states.set_enabled(made.id, user.id, enabled=False)
    shown = (await owner.get(member)).text
    assert all(text in shown for text in ("Disabled by its SCIM client", "Reactivate"))
    assert "Disabled by its SCIM client" not in (await owner.confirm(f"{member}/reactivate")).text
    (editor,) = await fetch("SELECT id::text FROM role WHERE organization_id = $1 AND name = 'Editor'", made.id)
    await effective.empty()
    assert (await effective.memberships(user.id)).organizations[made.id] == OrganizationMembership(
        id=made.id, slug=slug, name="Acme", roles=("Editor",)
    )
    assert user.email in (await owner.get(f"{path}/roles/{editor['id']}")).text
    assert slug in (await owner.get(f"/admin/users/{user.id}")).text
    page = await owner.confirm(f"{path}/roles/{editor['id']}/change", name="Author")
    assert "Author" in page.text
    await owner.confirm(f"{path}/roles/{editor['id']}/delete")
    assert "Author" not in (await owner.get(f"{path}/roles")).text
    await owner.confirm(f"{path}/members/{user.id}/remove")
    assert user.email not in (await owner.get(f"{path}/members")).text
    assert "Acme &lt;2&gt;" in (await owner.confirm(f"{path}/rename", name="Acme <2>")).text
    await owner.confirm(f"{path}/disable")
    assert (await organizations.found(made.id)).disabled_at is not None
    await owner.confirm(f"{path}/enable")
    assert "Deleted." in (await owner.confirm(f"{path}/delete")).text
    assert (await owner.get(path)).status == 404


async def _submit(owner: Admin, path: str, **fields: str) -> Page:
    page = await owner.get(path)
    (form,) = (form for form in page.forms if form.action == path and "csrf_token" in form.fields)
    answer = as_page(await owner.browser.post(path, form.fields | fields))
    assert answer.status == 200, answer.text
    return answer


async def test_a_domain_is_claimed_verified_and_removed(owner: Admin, nameserver: Nameserver) -> None:
    made = await an_organization()
    path, name = f"/admin/organizations/{made.id}/domains", f"{secrets.token_hex(6)}.example"
    page = await _submit(owner, path, domain=name)
    (domain,) = await fetch("SELECT id, token FROM organization_domain WHERE domain = $1", name)
    value = f"idp-domain-verification={domain['token']}"
    assert page.path == f"{path}/{domain['id']}"
    assert value in page.text
    refused = await owner.confirm(f"{page.path}/verify")
    assert refused.status == 400
    assert f"There is no TXT record _idp-challenge.{name}" in refused.text
    nameserver.records[f"_idp-challenge.{name}"] = [value]
    assert "verified" in (await owner.confirm(f"{page.path}/verify")).text
    assert "no enabled upstream" in (await owner.confirm(f"{page.path}/enforce")).text
    entered = {"id": f"u{secrets.token_hex(4)}", "name": "Acme", "issuer": "https://login.acme.example"}
    entered |= {"client_id": "us", "client_secret": "hush-hush"}
    new = "/admin/upstreams/new/oidc"
    assert "no such organisation" in (await owner.confirm(new, **entered, organization="nobody-has-this")).text
    upstream = await owner.confirm(new, **entered, organization=made.slug, adds_members="on")
    assert f"/admin/organizations/{made.id}" in upstream.text
    await owner.confirm(f"{upstream.path}/enable")
    assert made.slug in (await owner.get(f"/admin/upstreams?id={entered['id']}")).text
    await owner.confirm(f"{page.path}/enforce")
    assert f"{page.path}/release" in (await owner.get(page.path)).text
    await owner.confirm(f"{page.path}/release")
    await owner.confirm(f"{upstream.path}/delete")
    assert name in (await owner.get(path)).text
    await owner.confirm(f"{page.path}/remove")
    assert name not in (await owner.get(path)).text
    page = await owner.get(path)
    (form,) = (form for form in page.forms if form.action == path and "csrf_token" in form.fields)
    refused = as_page(await owner.browser.post(path, form.fields | {"domain": "<b>.example"}))
    assert refused.status == 400
    assert "<b>.example" not in refused.text
    await execute("DELETE FROM organization WHERE id = $1", made.id)


async def test_the_sign_in_policy(owner: Admin, server: Server) -> None:
    made = await an_organization()
    path = f"/admin/organizations/{made.id}/policy"
    assert "not required" in (await owner.get(path)).text

    async def save(**entered: str) -> Page:
        (form,) = (form for form in (await owner.get(f"{path}/change")).forms if "confirm" in form.buttons)
        hidden = {name: form.fields[name] for name in ("csrf_token", "version")}
        return as_page(await owner.browser.post(form.action, hidden | entered))

    page = await save(second_factor="on", session_max_age="480", passkey="on", password="on")
    assert [text for text in ("Saved.", "480", "Password, Passkey") if text not in page.text] == []
    policy = SignInPolicy(second_factor=True, session_max_age=28_800, ways=("password", "passkey"))
    assert await policy_of(made.id) == policy
    for wrong, error in (("5", "must be 900 to"), ("1.5", "whole numbers"), ("\u096f", "whole numbers")):
        refused = await save(session_max_age=wrong)
        assert refused.status == 400
        assert error in refused.text
    page = await owner.get(f"{path}/change")
    await organizations.rename(made.id, "Renamed")
    assert "has been changed" in as_page(await owner.browser.submit(page, "confirm", session_max_age="600")).text
    assert await policy_of(made.id) == policy
    await save(session_max_age="")
    assert await policy_of(made.id) == NO_POLICY
    async with an_enforced_domain(made, server) as domain:
        refused = await save(password="on")
        assert (refused.status, f"Addresses at {domain}" in refused.text) == (400, True)
        assert "Save anyway" in refused.text
        assert await policy_of(made.id) == NO_POLICY
        await save(password="on", accept_lockout="on")
        assert await policy_of(made.id) == SignInPolicy(ways=("password",))
    await execute("DELETE FROM organization WHERE id = $1", made.id)


async def test_what_is_refused_is_shown_in_the_form(owner: Admin, make_user: MakeUser) -> None:
    slug = f"acme-{secrets.token_hex(6)}"
    made = await organizations.create(slug, "Acme")
    path = f"/admin/organizations/{made.id}"
    for entered in (
        {"slug": slug, "name": "Twice"},
        {"slug": "Upper", "name": "Acme"},
        {"slug": "a", "name": "\u202e"},
    ):
        page = await owner.confirm("/admin/organizations/new", **entered)
        assert page.status == 400
        assert entered["slug"] in page.text
    page = await owner.get(f"{path}/members")
    (form,) = (form for form in page.forms if "csrf_token" in form.fields and form.action.endswith("/members"))
    for emails in ("", "nobody@example.com", f"{(await make_user()).email}\n<script>"):
        answer = as_page(await owner.browser.post(form.action, form.fields | {"users": emails}))
        assert answer.status == 400
        assert "<script>" not in answer.text.partition("<main")[2]
    assert await organizations.repository.members_among(made.id, []) == set()
    # Another admin has renamed it since the form was shown.
    page = await owner.get(f"{path}/rename")
    await organizations.rename(made.id, "Renamed")
    answer = as_page(await owner.browser.submit(page, "confirm", name="Late"))
    assert "has been changed" in answer.text
    assert (await organizations.found(made.id)).name == "Renamed"
    await execute("DELETE FROM organization WHERE id = $1", made.id)
