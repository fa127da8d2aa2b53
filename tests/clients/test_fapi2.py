"""FAPI 2.0 by openid-client, with the scripts of docs/profiles.md."""

import re
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from idp.accounts.tables import User
from idp.keys import jose
from idp.oauth.clients.registration import register_client
from tests.clients.conftest import node, sign_in
from tests.support.browser import Browser
from tests.support.oauth import REDIRECT_URI, RelyingParty, until_current
from tests.support.server import Server
from tests.support.tokens import claims_of, decode

PAGE = (Path(__file__).parents[2] / "docs" / "profiles.md").read_text(encoding="utf-8")
ISSUER = "https://id.example.com"
# Sign-in, userinfo, a refresh, userinfo.
MAIN = """
import { createInterface } from "node:readline";
import * as client from "openid-client";
import { DPoP, begin, config, finish } from "./bank.mjs";

const { url, checks } = await begin();
console.log(url.href);
for await (const line of createInterface({ input: process.stdin })) {
  const tokens = await finish(new URL(line), checks);
  const { sub } = tokens.claims();
  const refreshed = await client.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP });
  const users = [];
  for (const each of [tokens, refreshed]) {
    users.push(await client.fetchUserInfo(config, each.access_token, sub, { DPoP }));
  }
  console.log(JSON.stringify({ tokens, refreshed, users, parameters: [...new URL(line).searchParams.keys()] }));
  process.exit(0);
}
"""


@pytest.mark.parametrize("profile", ["fapi2", "fapi2-message-signing"])
async def test_openid_client(
    profile: str, server: Server, http: httpx.AsyncClient, browser: Browser, alice: User, tmp_path: Path
) -> None:
    key = jose.generate("ES256")
    pem = key.key.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "client.pem").write_bytes(pem)
    public = {name: key.public_jwk[name] for name in ("kty", "crv", "x", "y")} | {"kid": "2026-1"}
    registered, _ = await register_client(
        client_name="Bank", profile=profile, redirect_uris=[REDIRECT_URI], jwks={"keys": [public]},
        grant_types=["authorization_code", "refresh_token"], scope="openid profile",
    )  # fmt: skip
    await until_current(RelyingParty(server.issuer, http, registered.client_id))
    script, signing = re.findall(r"```js\n(.*?)```", PAGE, re.DOTALL)
    plain = [line for line in script.splitlines() if "buildAuthorizationUrlWithPAR" in line]
    assert len(plain) == 1
    if profile != "fapi2":
        script = script.replace(plain[0], signing)
        script = script.replace("export const DPoP", "client.useJwtResponseMode(config);\nexport const DPoP")
    # Plain http, for the test.
    changes = {ISSUER: server.issuer, "bank-app": registered.client_id, "metadata, authentication)":
               "metadata, authentication, { execute: [client.allowInsecureRequests] })"}  # fmt: skip
    for old, new in changes.items():
        assert old in script
        script = script.replace(old, new)
    async with node(tmp_path, main=MAIN, bank=script) as program:
        found = await program.ask(await sign_in(browser, await program.read(), alice.email))
    assert found["parameters"] == (["code", "state", "iss", "session_state"] if profile == "fapi2" else ["response"])
    assert [user["sub"] for user in found["users"]] == [str(alice.id)] * 2
    assert found["refreshed"]["refresh_token"] == found["tokens"]["refresh_token"]
    for tokens in (found["tokens"], found["refreshed"]):
        assert tokens["token_type"] == "dpop"
        assert claims_of(tokens["access_token"])["cnf"].keys() == {"jkt"}
        assert decode(tokens["id_token"].split(".")[0])["alg"] == "ES256"
