"""Backchannel authentication by openid-client."""

from pathlib import Path

from idp.accounts.tables import User
from tests.clients.conftest import node
from tests.conftest import MakeClient
from tests.support.browser import Browser
from tests.support.ciba import CIBA, decide, page_path
from tests.support.mailbox import Mailbox

SCRIPT = """
import * as client from "openid-client";

const config = await client.discovery(new URL("ISSUER"), "CLIENT_ID", "SECRET", undefined, {
  execute: [client.allowInsecureRequests],
});
const request = await client.initiateBackchannelAuthentication(config, {
  scope: "openid email", login_hint: "EMAIL", binding_message: "Code 4711",
});
console.log(request.interval);
const tokens = await client.pollBackchannelAuthenticationGrant(config, request);
console.log(tokens.claims().sub);
"""


async def test_openid_client(
    make_client: MakeClient, browser: Browser, mailbox: Mailbox, alice: User, tmp_path: Path
) -> None:
    """It reads the endpoint in discovery, and polls until the user has decided."""
    party = await make_client(**CIBA)
    changes = {
        "ISSUER": party.issuer,
        "CLIENT_ID": party.client_id,
        "SECRET": party.client_secret or "",
        "EMAIL": alice.email,
    }
    code = SCRIPT
    for old, new in changes.items():
        code = code.replace(old, new)
    async with node(tmp_path, main=code) as program:
        assert await program.read() == "5"
        await decide(browser, page_path(await mailbox.next(alice.email)), alice.email)
        assert await program.read() == str(alice.id)
