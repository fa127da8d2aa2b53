"""Row 56: a logo that is more than an image. Uploads are identified by their bytes, and responses forbid scripts."""

import asyncio

import httpx
import pytest

from idp.admin.roles import Role
from idp.infra.db.engine import fetchrow
from idp.oauth.clients.repository import find_client
from tests.admin.console.conftest import Admin, sign_in_admin
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, open_browser
from tests.support.oauth import RelyingParty
from tests.support.server import Server

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'>"
HOSTILE = {
    "script": SVG + b"<script>alert(1)</script></svg>",
    "handler": SVG + b"<rect onload='alert(1)'/></svg>",
    "foreignObject": SVG + b"<foreignObject><body xmlns='http://www.w3.org/1999/xhtml'/></foreignObject></svg>",
    "reference": SVG + b"<use href='https://evil.example/x.svg#a'/></svg>",
    "entity": b"<?xml version='1.0'?><!DOCTYPE svg [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>" + SVG + b"&x;</svg>",
    "harmless": SVG + b"<rect width='1' height='1'/></svg>",
    "page": b"<!doctype html><script>alert(1)</script>",
    "nothing": b"",
    "large": PNG + bytes(60_000),
    "pdf": b"%PDF-1.7",
}


@pytest.fixture
async def admin(server: Server, browser: Browser) -> Admin:
    return await sign_in_admin(server, browser, Role.CLIENT_ADMIN)


@pytest.fixture
async def client(make_client: MakeClient) -> RelyingParty:
    return await make_client()


async def upload(admin: Admin, client: RelyingParty, content: bytes, name: str = "logo.png") -> httpx.Response:
    path = f"/admin/clients/{client.client_id}/logo"
    page = await admin.get(path)
    form = next(form for form in page.forms if form.action == path)
    browser = admin.browser
    return await browser.client.post(
        browser.issuer + path,
        data={"csrf_token": form.fields["csrf_token"]},
        files={"file": (name, content, "image/png")},
        headers={"Origin": browser.issuer},
    )


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
async def test_56_other_files_are_refused(admin: Admin, client: RelyingParty, content: bytes) -> None:
    answer = await upload(admin, client, content, name="logo.svg")
    assert answer.status_code == 400
    assert await fetchrow("SELECT 1 FROM client_logo WHERE client_id = $1", client.client_id) is None
    assert (await client.http.get(f"{client.issuer}/logos/{client.client_id}")).status_code == 404


async def test_56_a_picture_can_do_nothing(admin: Admin, client: RelyingParty) -> None:
    """Although its first bytes are followed by HTML."""
    content = PNG + HOSTILE["page"]
    answer = await upload(admin, client, content)
    assert answer.status_code == 303
    url = f"{client.issuer}/logos/{client.client_id}"
    found = await find_client(client.client_id)
    assert found is not None
    assert (found.logo_uri or "").startswith(f"{url}?v=")
    served = await client.http.get(url)
    assert served.content == content
    assert served.headers["content-type"] == "image/png"
    assert served.headers["x-content-type-options"] == "nosniff"
    assert served.headers["content-security-policy"] == "sandbox; default-src 'none'"
    tag = {"If-None-Match": served.headers["etag"]}
    assert (await client.http.get(url, headers=tag)).status_code == 304


async def test_56_people_see_it_where_they_sign_in(admin: Admin, client: RelyingParty, server: Server) -> None:
    await upload(admin, client, PNG)
    for _ in range(1500):
        async with open_browser(server.issuer) as stranger:
            page = await client.authorize(stranger)
        assert isinstance(page, Page)
        if f"/logos/{client.client_id}?v=" in page.text:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("The logo is not shown.")


async def test_56_only_authorized_admins_upload(server: Server, browser: Browser, client: RelyingParty) -> None:
    await sign_in_admin(server, browser, Role.AUDITOR)
    answer = await browser.client.post(
        f"{browser.issuer}/admin/clients/{client.client_id}/logo",
        files={"file": ("logo.png", PNG)},
        headers={"Origin": browser.issuer},
    )
    assert answer.status_code == 403
    assert await fetchrow("SELECT 1 FROM client_logo WHERE client_id = $1", client.client_id) is None
