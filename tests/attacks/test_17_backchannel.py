"""Row 17: tokens of a backchannel request have no scope that was not registered, requested and approved."""

from idp.accounts.tables import User
from idp.infra.db.engine import fetchrow
from tests.conftest import MakeClient
from tests.support.browser import Browser
from tests.support.ciba import CIBA, asked, decide, poll
from tests.support.tokens import claims_of


async def test_17_scopes_beyond_the_approval(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """Neither in the request nor in the poll."""
    client = await make_client(**CIBA | {"scope": "openid email"})
    auth_req_id = await asked(client, alice.email, scope="openid admin profile")
    row = await fetchrow("SELECT id FROM backchannel_request WHERE user_id = $1", alice.id)
    assert row is not None
    await decide(browser, f"/account/requests/{row['id']}", alice.email)
    tokens = (await poll(client, auth_req_id, scope="openid email profile")).json()
    assert tokens["scope"] == "openid"
    assert claims_of(tokens["access_token"])["scope"] == "openid"
    assert (await client.userinfo(tokens["access_token"])).json() == {"sub": str(alice.id)}
