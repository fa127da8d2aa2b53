"""A form that needs a new sign-in before it is saved: the entered values are shown again afterwards."""

import re

import pytest

from idp.admin.console import screen
from idp.admin.roles import Role
from idp.branding import service as branding
from idp.branding.models import Owner
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.oauth.clients.repository import find_client, update_metadata
from tests.admin.console.conftest import Admin, sign_in_admin
from tests.branding.test_validation import PNG
from tests.support.browser import Browser, Page, as_page
from tests.support.directory import an_organization
from tests.support.oauth import PASSWORD
from tests.support.server import Server

pytestmark = pytest.mark.fault(46)


@pytest.fixture
async def admin(server: Server, browser: Browser) -> Admin:
    return await sign_in_admin(server, browser, Role.OWNER)


async def _become_old(admin: Admin) -> None:
    changed = "UPDATE session SET auth_time = now() - interval '1 hour' WHERE user_id = $1"
    assert await execute(changed, admin.user.id)


async def _sign_in_again(admin: Admin, page: Page) -> Page:
    assert "login-submit" in page.ids, page.text
    page = as_page(await admin.browser.sign_in(page, admin.user.email, PASSWORD))
    return as_page(await admin.browser.submit(page, "totp-submit", code=await admin.person.otp()))


async def test_entered_values_are_shown_after_a_new_sign_in(admin: Admin, owner: Admin) -> None:
    page = await admin.get("/admin/clients/new/web")
    (form,) = (form for form in page.forms if form.action == "/admin/clients/new/web")
    entered = form.fields | {"client_name": "Typed <for> long", "redirect_uris": "https://typed.example/cb"}
    del entered["require_pkce"]
    await _become_old(admin)
    page = await _sign_in_again(admin, as_page(await admin.browser.post(form.action, entered)))
    assert page.path == form.action
    assert screen.SIGNED_IN_AGAIN in page.text
    assert await fetch("SELECT FROM client WHERE metadata ->> 'client_name' = 'Typed <for> long'") == []
    (form,) = (form for form in page.forms if form.action == "/admin/clients/new/web")
    assert form.fields["client_name"] == "Typed <for> long"
    assert "https://typed.example/cb</textarea>" in page.text
    # A box that was not ticked is not ticked again.
    assert "checked" not in page.text.partition('id="f-require_pkce"')[2].partition(">")[0]
    # No other admin sees it.
    kept = re.search(r"kept=([\w-]+)", page.url)
    assert kept is not None
    others = await owner.get(f"/admin/clients/new/web?kept={kept[1]}")
    assert others.status == 200
    assert "Typed" not in others.text
    await admin.browser.submit(page, "confirm", redirect_uris="https://typed.example/cb")
    assert len(await fetch("SELECT FROM client WHERE metadata ->> 'client_name' = 'Typed <for> long'")) == 1


async def test_a_secret_is_kept_encrypted_and_not_shown(admin: Admin) -> None:
    page = await admin.get("/admin/upstreams/new/oidc")
    (form,) = (form for form in page.forms if form.action == "/admin/upstreams/new/oidc")
    secrets = [name for name in form.fields if "secret" in name]
    assert secrets
    entered = form.fields | dict.fromkeys(secrets, "hunter2hunter2") | {"name": "Typed provider"}
    await _become_old(admin)
    page = await _sign_in_again(admin, as_page(await admin.browser.post(form.action, entered)))
    assert "Typed provider" in page.text
    assert "hunter2" not in page.text
    row = await fetchrow(
        "SELECT kept_form FROM signin_flow WHERE user_id = $1 AND kept_form IS NOT NULL", admin.user.id
    )
    assert row is not None
    assert b"hunter2" not in bytes(row["kept_form"])


async def test_a_body_with_a_secret_is_not_shown_again(admin: Admin) -> None:
    for name, again in (("add_upstream", False), ("create_client", True)):
        page = await admin.get(f"/admin/api_reference/{name}")
        await _become_old(admin)
        sent = await admin.browser.submit(page, "confirm", body='{"x": "hunter2hunter2"}')
        page = await _sign_in_again(admin, as_page(sent))
        assert page.path == f"/admin/api_reference/{name}"
        assert ("hunter2" in page.text) is again


async def test_a_kept_form_does_not_overwrite_a_concurrent_change(admin: Admin) -> None:
    """A record that another user has changed is not overwritten."""
    page = await admin.get("/admin/clients/new/web")
    (form,) = (form for form in page.forms if form.action == "/admin/clients/new/web")
    await admin.browser.post(
        form.action, form.fields | {"client_name": "Seen", "redirect_uris": "https://a.example/cb"}
    )
    row = await fetchrow(
        "SELECT client_id FROM client WHERE metadata ->> 'client_name' = 'Seen' ORDER BY created_at DESC"
    )
    assert row is not None
    path = f"/admin/clients/{row['client_id']}/change"
    (form,) = (form for form in (await admin.get(path)).forms if form.action == path)
    entered = form.fields | {"client_name": "Mine", "redirect_uris": "https://a.example/cb"}
    await _become_old(admin)
    await update_metadata(row["client_id"], {"client_name": "Theirs"})
    page = await _sign_in_again(admin, as_page(await admin.browser.post(path, entered)))
    answer = as_page(await admin.browser.submit(page, "confirm", redirect_uris="https://a.example/cb"))
    assert answer.status == 400
    client = await find_client(row["client_id"])
    assert client is not None
    assert client.client_name == "Theirs"


async def test_a_deed_keeps_nothing(admin: Admin) -> None:
    """Without a form, the confirmation page is shown again."""
    path = f"/admin/users/{admin.user.id}/sign_out"
    page = await admin.get(path.replace("sign_out", "reset_factors"))
    await _become_old(admin)
    page = await _sign_in_again(admin, as_page(await admin.browser.submit(page, "confirm")))
    assert "kept=" not in page.url
    assert "Reset second factors?" in page.text
    assert screen.SIGNED_IN_AGAIN not in page.text


def test_every_form_has_a_page_to_return_to() -> None:
    """A sign-in returns by GET."""
    paths = {method: set[str]() for method in ("GET", "POST")}
    for route in screen.ROUTES:
        for method in route.http_methods:
            paths[str(method)] |= set(route.paths)
    assert paths["POST"] - paths["GET"] == set()


async def test_an_invitation_comes_back_to_its_page(admin: Admin) -> None:
    page = await admin.get("/admin/users/invite")
    (form,) = (form for form in page.forms if form.action == "/admin/users/invite")
    one_factor = "UPDATE session SET acr = '1', steps = ARRAY['password pwd'] WHERE user_id = $1"
    assert await execute(one_factor, admin.user.id)
    page = as_page(await admin.browser.post(form.action, form.fields | {"email": "somebody@example.com"}))
    page = as_page(await admin.browser.submit(page, "totp-submit", code=await admin.person.otp()))
    assert (page.path, page.status) == ("/admin/users/invite", 200)
    assert "somebody@example.com" in page.text


async def test_a_branding_needs_a_recent_sign_in(admin: Admin) -> None:
    """Saving it keeps what was typed. A picture is chosen after the sign-in."""
    owner = Owner(organization_id=(await an_organization()).id)
    path = f"/admin/organizations/{owner.organization_id}/branding"
    page = await admin.get(path)
    await _become_old(admin)
    asked = as_page(await admin.browser.submit(page, "confirm", display_name="Typed for long"))
    assert await branding.current(owner) is None
    page = await _sign_in_again(admin, asked)
    assert "Typed for long" in page.text
    await admin.browser.submit(page, "confirm")
    assert (await branding.branding_of(owner)).display_name == "Typed for long"


@pytest.mark.parametrize("act", ["remove", "pictures/logo/remove", "history/{version}/restore", "pictures/logo"])
async def test_acts_on_a_branding_need_a_recent_sign_in(act: str, admin: Admin) -> None:
    owner = Owner(organization_id=(await an_organization()).id)
    await branding.save_picture(owner, "logo", PNG)
    (before,) = await branding.history(owner)
    path = f"/admin/organizations/{owner.organization_id}/branding/{act.format(version=before.id)}"
    page = await admin.get(path)
    await _become_old(admin)
    if act == "pictures/logo":
        assert "login-submit" in (await admin.get(path)).ids
    assert "login-submit" in as_page(await admin.browser.submit(page, "confirm")).ids
    assert await branding.history(owner) == [before]


async def test_an_invitation_of_an_administrator(admin: Admin) -> None:
    """It gives power away, as making a member one does."""
    organization = await an_organization()
    path = f"/admin/organizations/{organization.id}/invitations"
    (form,) = (form for form in (await admin.get(path)).forms if form.action == path and "csrf_token" in form.fields)
    await _become_old(admin)
    entered = form.fields | {"email": "new@example.com", "admin": "on"}
    page = await _sign_in_again(admin, as_page(await admin.browser.post(path, entered)))
    assert await fetch("SELECT FROM organization_invitation WHERE organization_id = $1", organization.id) == []
    assert page.path == path
    (form,) = (form for form in page.forms if form.action == path and "csrf_token" in form.fields)
    assert (form.fields["email"], form.fields["admin"]) == ("new@example.com", "on")
