"""Without SMTP, the console says so and offers no actions that need mail."""

import json
from collections.abc import Callable

import pytest

from idp.accounts.tables import User
from idp.admin.roles import Role
from tests.admin.console.conftest import sign_in_admin
from tests.support.browser import as_page, open_browser
from tests.support.oauth import PASSWORD
from tests.support.server import Server

pytestmark = pytest.mark.fault(46)


async def test_a_warning_at_start_and_on_the_overview(start_server: Callable[..., Server], alice: User) -> None:
    server = start_server(IDP_SMTP_URL="")
    lines = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    assert [line["level"] for line in lines if line["event"] == "serves_without_mail"] == ["warning"]
    async with open_browser(server.issuer) as browser:
        admin = await sign_in_admin(server, browser, Role.OWNER)
        assert "IDP_SMTP_URL" in (await admin.get("/admin")).text
        assert "/admin/users/invite" not in (await admin.get("/admin/users")).text
        assert "reset_password" not in (await admin.get(f"/admin/users/{alice.id}")).text


async def test_pages_offer_nothing_that_needs_mail(start_server: Callable[..., Server], alice: User) -> None:
    server = start_server(IDP_SMTP_URL="")
    async with open_browser(server.issuer) as browser:
        page = as_page(await browser.get("/login"))
        assert not {"forgot", "register", "email-code-send"} & page.ids
        for path in ("/forgot", f"{page.path}/forgot"):
            refused = as_page(await browser.get(path))
            assert refused.status == 503
            assert "cannot send email" in refused.text
        for step in ("registration", "email_code"):
            assert as_page(await browser.get(f"{page.path}/{step}")).path == page.path
        metadata = await browser.client.get(f"{server.issuer}/.well-known/openid-configuration")
        assert "create" not in metadata.json()["prompt_values_supported"]
        await browser.sign_in(page, alice.email, PASSWORD)
        assert "cannot send email" in as_page(await browser.get("/account/email")).text


async def test_no_warning_if_mail_is_configured(server: Server, alice: User) -> None:
    assert "serves_without_mail" not in server.log
    async with open_browser(server.issuer) as browser:
        assert {"forgot", "register", "email-code-send"} <= as_page(await browser.get("/login")).ids
        metadata = await browser.client.get(f"{server.issuer}/.well-known/openid-configuration")
        assert "create" in metadata.json()["prompt_values_supported"]
        admin = await sign_in_admin(server, browser, Role.OWNER)
        assert "IDP_SMTP_URL" not in (await admin.get("/admin")).text
        assert "/admin/users/invite" in (await admin.get("/admin/users")).text
        assert "reset_password" in (await admin.get(f"/admin/users/{alice.id}")).text
