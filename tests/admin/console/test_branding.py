"""The editor of a branding: of an organization, of a client, and of the server."""

import re
import secrets

import httpx
import pytest

from idp.admin.roles import Role
from idp.branding import service
from idp.branding.models import Owner
from idp.oauth.clients.registration import register_client
from tests.admin.console.conftest import Admin, sign_in_admin
from tests.branding.test_validation import PNG
from tests.support.browser import Page, as_page, open_browser
from tests.support.directory import an_organization
from tests.support.server import Server


async def upload(owner: Admin, path: str, name: str, content: bytes) -> httpx.Response:
    page = await owner.get(f"{path}/pictures/{name}")
    (form,) = (form for form in page.forms if "confirm" in form.buttons)
    fields = {key: value for key, value in form.fields.items() if key != "file"}
    url, origin = f"{owner.browser.issuer}{form.action}", {"Origin": owner.browser.issuer}
    files = {"file": ("picture.png", content, "image/png")}
    return await owner.browser.client.post(url, data=fields, files=files, headers=origin)


async def previewed(owner: Admin, page: Page, **entered: str) -> Page:
    """Press the button of the preview. The response is for its frame."""
    (form,) = (form for form in page.forms if "preview-update" in form.buttons)
    url, origin = f"{owner.browser.issuer}{form.action}/preview", {"Origin": owner.browser.issuer}
    return Page(await owner.browser.client.post(url, data=form.fields | entered, headers=origin))


@pytest.mark.parametrize("kind", ["organization", "client"])
async def test_the_branding(kind: str, owner: Admin) -> None:
    if kind == "organization":
        made = await an_organization()
        branded, path = Owner(organization_id=made.id), f"/admin/organizations/{made.id}/branding"
    else:
        client, _ = await register_client(client_name="Shop", redirect_uris=["https://shop.example/callback"])
        branded, path = Owner(client_id=client.client_id), f"/admin/clients/{client.client_id}/branding"
    refused = await owner.confirm(path, color="#ffee00", display_name="Acme Ltd")
    assert refused.status == 400
    assert all(shown in refused.text for shown in ("hard to read", "Acme Ltd"))
    page = await owner.confirm(path, color="#8a1c4a", display_name="Acme Ltd", way_1="passkey", way_2="passkey")
    assert [text for text in ("Saved.", "#8a1c4a", "Acme Ltd") if text not in page.text] == []
    assert (await service.branding_of(branded)).ways == ("passkey",)
    assert (await upload(owner, path, "logo", PNG + secrets.token_bytes(9))).status_code == 303
    assert (await upload(owner, path, "background", PNG + bytes(200_000))).status_code == 303
    answer = await upload(owner, path, "logo", b"<svg/>")
    assert (answer.status_code, "must be a PNG" in answer.text) == (400, True)
    assert (await upload(owner, path, "dark_logo", PNG + bytes(100_000))).status_code == 400
    assert (await owner.get(f"{path}/pictures/other")).status == 404
    # The form keeps pictures.
    await owner.confirm(path, title="Hello")
    assert (await service.branding_of(branded)).logo is not None
    page = await owner.get(path)
    await service.save(branded, {"color": "#0f5568"})
    assert "has been changed" in as_page(await owner.browser.submit(page, "confirm", color="#000000")).text
    history = await owner.get(f"{path}/history")
    assert owner.person.user.email in history.text
    older = (await service.history(branded))[1]
    page = await owner.confirm(f"{path}/history/{older.id}/restore")
    assert (await service.branding_of(branded)).title == "Hello"
    await owner.confirm(f"{path}/pictures/logo/remove")
    assert (await service.branding_of(branded)).logo is None
    assert (await owner.get(f"{path}/history/{secrets.token_hex(4)}/restore")).status == 404
    await owner.confirm(f"{path}/remove")
    assert await service.current(branded) is None


async def test_the_preview(owner: Admin) -> None:
    """It shows what is entered, saves nothing, and only our own pages may frame it."""
    made = await an_organization()
    path = f"/admin/organizations/{made.id}/branding"
    page = await owner.get(path)
    assert "frame-src 'self'" in page.response.headers["content-security-policy"]
    shown = await previewed(owner, page, display_name="Acme Ltd", corners="square")
    assert "Acme Ltd" in shown.text
    assert "/branding/styles/r-square_.css" in shown.text
    policy = shown.response.headers["content-security-policy"]
    assert all(part in policy for part in ("frame-ancestors 'self'", "form-action 'none'"))
    assert "script-src" not in policy
    assert shown.response.headers["x-frame-options"] == "SAMEORIGIN"
    for name, expected in (("sign_in", "login-submit"), ("consent", "consent-allow"), ("error", "organization-brand")):
        values = {"display_name": "Acme Ltd", "preview": name}
        shown = await previewed(owner, page, **values)
        assert {expected, "organization-brand"} <= set(shown.ids)
    for way, expected in (
        ("email_code", "email-code-send"),
        ("upstream", "upstream-example"),
        ("passkey", "passkey-get"),
    ):
        shown = await previewed(owner, page, way_1=way)
        assert expected in shown.ids
    shown = await previewed(owner, page, color="#ffee00")
    assert re.search("cannot be saved.*hard to read", shown.text, re.DOTALL)
    assert await service.current(Owner(organization_id=made.id)) is None
    ordinary = await owner.get("/account")
    assert ordinary.response.headers["x-frame-options"] == "DENY"


async def test_the_server_is_the_owners(owner: Admin, server: Server) -> None:
    page = await owner.get("/admin/branding")
    assert {"confirm", "preview-update"} <= set(page.ids)
    shown = await previewed(owner, page, display_name="Zorgbank")
    assert "Zorgbank" in shown.text
    async with open_browser(server.issuer) as browser:
        auditor = await sign_in_admin(server, browser, Role.AUDITOR)
        page = await auditor.get("/admin/branding")
        assert (page.status, "confirm" in page.ids) == (200, False)
        assert (await auditor.get("/admin/branding/remove")).status == 403
    async with open_browser(server.issuer) as browser:
        client_admin = await sign_in_admin(server, browser, Role.CLIENT_ADMIN)
        assert (await client_admin.get("/admin/branding")).status == 403
        assert (await client_admin.get(f"/admin/organizations/{(await an_organization()).id}/branding")).status == 403
