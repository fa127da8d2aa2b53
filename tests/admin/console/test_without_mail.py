"""A server without SMTP says so, and its console does not offer what needs mail."""

import json
from collections.abc import Callable

import pytest

from idp.accounts.tables import User
from idp.admin.roles import Role
from tests.admin.console.conftest import open_desk
from tests.support.browser import open_browser
from tests.support.server import Server

pytestmark = pytest.mark.fault(46)


async def test_it_is_told_at_the_start_and_on_the_overview(start_server: Callable[..., Server], alice: User) -> None:
    server = start_server()
    lines = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    assert [line["level"] for line in lines if line["event"] == "serves_without_mail"] == ["warning"]
    async with open_browser(server.issuer) as browser:
        desk = await open_desk(server, browser, Role.OWNER)
        assert "IDP_SMTP_URL" in (await desk.get("/admin")).text
        assert "/admin/invitations" not in (await desk.get("/admin/users")).text
        assert "reset_password" not in (await desk.get(f"/admin/users/{alice.id}")).text


async def test_it_is_not_told_where_mail_leaves(server: Server, alice: User) -> None:
    assert "serves_without_mail" not in server.log
    async with open_browser(server.issuer) as browser:
        desk = await open_desk(server, browser, Role.OWNER)
        assert "IDP_SMTP_URL" not in (await desk.get("/admin")).text
        assert "/admin/invitations" in (await desk.get("/admin/users")).text
        assert "reset_password" in (await desk.get(f"/admin/users/{alice.id}")).text
