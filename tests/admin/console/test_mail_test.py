"""The screen that sends a test mail."""

from collections.abc import Callable

from idp.admin.roles import Role
from idp.infra.db.engine import execute
from tests.admin.console.conftest import Admin, sign_in_admin
from tests.support.browser import Page, open_browser
from tests.support.mailbox import Mailbox
from tests.support.server import Server, free_port


async def test_a_test_mail_is_sent_at_once(admins: dict[Role, Admin], mailbox: Mailbox) -> None:
    admin = admins[Role.SUPPORT]
    assert admin.user.email in (await admin.get("/admin/outbox/test")).text
    sent = await admin.confirm("/admin/outbox/test", email="Tested@Example.com")
    assert "accepted the test email" in sent.text
    assert (await mailbox.next("tested@example.com")).subject.startswith("Test email from")
    assert "@-sign" in (await admin.confirm("/admin/outbox/test", email="nobody")).text
    assert (await admins[Role.AUDITOR].get("/admin/outbox/test")).status == 403


async def test_a_recent_sign_in_is_required(server: Server) -> None:
    async with open_browser(server.issuer) as browser:
        admin = await sign_in_admin(server, browser, Role.OWNER)
        page = await admin.get("/admin/outbox/test")
        aged = "UPDATE session SET auth_time = auth_time - interval '1 hour' WHERE user_id = $1"
        await execute(aged, admin.user.id)
        asked = await browser.submit(page, "confirm", email="aged@example.com")
        assert isinstance(asked, Page)
        assert "login-submit" in asked.ids


async def test_the_reason_of_a_failure_and_the_limit(start_server: Callable[..., Server]) -> None:
    port = free_port()
    server = start_server(IDP_SMTP_URL=f"smtp://127.0.0.1:{port}")
    async with open_browser(server.issuer) as browser:
        admin = await sign_in_admin(server, browser, Role.OWNER)
        failed = await admin.confirm("/admin/outbox/test", email="a@example.com")
        assert failed.status == 400
        assert "The email was not sent: " in failed.text
        assert str(port) in failed.text
        for _ in range(3):
            failed = await admin.confirm("/admin/outbox/test", email="A@example.com")
        # Three to one address, and ten of one administrator.
        assert "allowed again" in failed.text
        for number in range(14):
            failed = await admin.confirm("/admin/outbox/test", email=f"a{number}@example.com")
        assert "allowed again" in failed.text
