"""Dynamic client registration by openid-client: it registers itself, and signs a user in."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import execute
from idp.oauth.clients.dynamic import initial_tokens
from idp.oauth.clients.dynamic.ceiling import Ceiling
from tests.clients.conftest import node, sign_in
from tests.support.browser import Browser
from tests.support.server import Server

SCRIPT = """
import { createInterface } from "node:readline";
import * as client from "openid-client";

const metadata = METADATA;
const keys = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
const jwk = await crypto.subtle.exportKey("jwk", keys.publicKey);
let authentication;
if (metadata.token_endpoint_auth_method === "private_key_jwt") {
  metadata.jwks = { keys: [{ kty: jwk.kty, crv: jwk.crv, x: jwk.x, y: jwk.y }] };
  authentication = client.PrivateKeyJwt(keys.privateKey);
}
const config = await client.dynamicClientRegistration(
  new URL("ISSUER"), { redirect_uris: ["https://app.example.com/callback"], ...metadata }, authentication,
  { execute: [client.allowInsecureRequests], initialAccessToken: "TOKEN" },
);
const pkceCodeVerifier = client.randomPKCECodeVerifier();
const expectedState = client.randomState();
console.log(client.buildAuthorizationUrl(config, {
  redirect_uri: "https://app.example.com/callback", scope: "openid email", state: expectedState,
  code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier), code_challenge_method: "S256",
}).href);
for await (const line of createInterface({ input: process.stdin })) {
  const tokens = await client.authorizationCodeGrant(config, new URL(line), { pkceCodeVerifier, expectedState });
  const registered = config.clientMetadata();
  const answer = await fetch(registered.registration_client_uri, {
    headers: { Authorization: `Bearer ${registered.registration_access_token}` },
  });
  console.log(JSON.stringify({ claims: tokens.claims(), registered, read: await answer.json() }));
  process.exit(0);
}
"""


@pytest.fixture
async def token(db: str) -> AsyncIterator[str]:
    _, token = await initial_tokens.create("openid-client", Ceiling())
    yield token
    await execute("DELETE FROM initial_access_token")


@pytest.mark.parametrize(
    "metadata", ["{}", '{ token_endpoint_auth_method: "none" }', '{ token_endpoint_auth_method: "private_key_jwt" }']
)
async def test_openid_client(
    server: Server, browser: Browser, alice: User, token: str, tmp_path: Path, metadata: str
) -> None:
    code = SCRIPT.replace("ISSUER", server.issuer).replace("TOKEN", token).replace("METADATA", metadata)
    async with node(tmp_path, main=code) as program:
        location = await sign_in(browser, await program.read(), alice.email)
        answer: dict[str, Any] = await program.ask(location)
    registered = answer["registered"]
    assert answer["claims"]["aud"] == registered["client_id"]
    assert answer["read"]["client_id"] == registered["client_id"]
    assert ("client_secret" in registered) == (metadata == "{}")
