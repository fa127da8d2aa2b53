"""Row 60: a held approval of a backchannel request outlives neither the session nor the user."""

from collections.abc import Awaitable, Callable
from urllib.parse import urlencode

import pytest

from idp.accounts.tables import User
from idp.accounts.users import disable_user
from idp.infra.db.engine import execute, fetchrow
from idp.oauth.credentials import credentials_changed
from idp.oauth.sign_out import sign_out_everywhere
from tests.attacks.test_60_authority_before_body import cookie, hold, let_decide, session_of
from tests.conftest import MakeClient
from tests.support.browser import Browser
from tests.support.ciba import CIBA, asked, open_request, poll
from tests.support.conformance import check_json_error
from tests.support.server import Server


async def _sign_out(user: User) -> None:
    await sign_out_everywhere(user.id, "signed_out_by_user")


async def _disable(user: User) -> None:
    assert await disable_user(user.id, credentials_changed)


async def _expire(user: User) -> None:
    await execute("UPDATE backchannel_request SET expires_at = now() WHERE user_id = $1", user.id)


@pytest.mark.parametrize(
    ("event", "error"),
    [(_sign_out, "authorization_pending"), (_disable, "authorization_pending"), (_expire, "expired_token")],
)
async def test_60_an_approval(
    event: Callable[[User], Awaitable[None]],
    error: str,
    server: Server,
    make_client: MakeClient,
    browser: Browser,
    alice: User,
) -> None:
    client = await make_client(**CIBA)
    auth_req_id = await asked(client, alice.email)
    row = await fetchrow("SELECT id FROM backchannel_request WHERE user_id = $1", alice.id)
    assert row is not None
    path = f"/account/requests/{row['id']}"
    page = await open_request(browser, path, alice.email)
    (form,) = [form for form in page.forms if "consent-allow" in form.buttons]
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Origin": server.issuer,
        "Cookie": cookie(server, "session", session_of(browser)),
    }
    held = await hold(server, "POST", path, headers, urlencode(form.fields | {"action": "allow"}).encode())
    await let_decide()
    await event(alice)
    assert (await held.finish()).status in (303, 403, 404)
    check_json_error(await poll(client, auth_req_id), 400, error)
