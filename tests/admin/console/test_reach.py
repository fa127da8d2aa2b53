"""The page of a user shows how far the end of a session has reached."""

import asyncio

from idp.accounts.tables import User
from idp.infra.db.engine import fetchrow
from tests.admin.console.conftest import Admin
from tests.conftest import MakeClient
from tests.support.browser import Browser
from tests.support.receivers import Receivers


async def test_who_was_told(owner: Admin, browser: Browser, make_client: MakeClient, alice: User) -> None:
    async with Receivers() as receivers:
        told = await make_client(client_name="Orchard", backchannel_logout_uri=receivers.url("a"), skip_consent=True)
        silent = await make_client(client_name="Quarry", skip_consent=True)
        for client in (told, silent):
            await client.sign_in(browser, alice.email)
        row = await fetchrow("SELECT id FROM session WHERE user_id = $1", alice.id)
        assert row is not None
        path = f"/admin/users/{alice.id}"
        assert "Sign-outs sent to applications" not in (await owner.get(path)).text
        await owner.confirm(f"{path}/sessions/{row['id']}/end")
        async with asyncio.timeout(20):
            while ">told<" not in (page := await owner.get(path)).text.replace(" ", "").replace("\n", ""):
                await asyncio.sleep(0.05)
    text = page.text.partition("Sign-outs sent to applications")[2]
    assert "Orchard" in text
    assert "Quarry" in text
    assert "cannot be told" in text
    assert len(receivers.received) == 1
