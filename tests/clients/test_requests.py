"""Pushed and signed requests with authorization details, by openid-client."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from idp.accounts.tables import User
from idp.keys import jose
from idp.oauth.details.models import DetailsType
from tests.clients.conftest import node, sign_in
from tests.conftest import MakeClient
from tests.support.authorization_details import detail, registering
from tests.support.browser import Browser
from tests.support.request_objects import jwks
from tests.support.server import Server
from tests.support.tokens import claims_of, key

SCRIPT = """
import { createInterface } from "node:readline";
import * as client from "openid-client";

const config = await client.discovery(new URL("ISSUER"), "CLIENT_ID", "SECRET", undefined, {
  execute: [client.allowInsecureRequests],
});
const key = await crypto.subtle.importKey("jwk", PRIVATE_KEY, { name: "ECDSA", namedCurve: "P-256" }, false, ["sign"]);
const pkceCodeVerifier = client.randomPKCECodeVerifier();
const [expectedState, expectedNonce] = [client.randomState(), client.randomNonce()];
const { searchParams } = await client.buildAuthorizationUrlWithJAR(config, {
  redirect_uri: "REDIRECT_URI", scope: "openid", state: expectedState, nonce: expectedNonce,
  code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier), code_challenge_method: "S256",
  authorization_details: JSON.stringify(DETAILS),
}, { key, kid: "KID" });
const url = PUSH ? await client.buildAuthorizationUrlWithPAR(config, searchParams)
  : new URL(`${config.serverMetadata().authorization_endpoint}?${searchParams}`);
console.log(url.href);
for await (const line of createInterface({ input: process.stdin })) {
  const checks = { pkceCodeVerifier, expectedState, expectedNonce };
  const tokens = await client.authorizationCodeGrant(config, new URL(line), checks);
  const less = await client.refreshTokenGrant(config, tokens.refresh_token, {
    authorization_details: JSON.stringify(LESS),
  });
  console.log(JSON.stringify({ tokens, less, parameters: [...url.searchParams.keys()].sort() }));
  process.exit(0);
}
"""


@pytest.fixture
async def payment(db: str, server: Server, http: httpx.AsyncClient) -> AsyncIterator[DetailsType]:
    async with registering(server, http) as register:
        yield await register()


@pytest.mark.parametrize("push", [True, False], ids=["pushed", "in the URL"])
async def test_openid_client(
    push: bool,
    make_client: MakeClient,
    payment: DetailsType,
    browser: Browser,
    alice: User,
    tmp_path: Path,
) -> None:
    party = await make_client(
        jwks=jwks("ES256"), require_signed_request_object=True, require_pushed_authorization_requests=push,
        authorization_details_types=[payment.type],
    )  # fmt: skip
    details, less = [detail(payment)], [detail(payment, actions=["status"])]
    private = {name: value for name, value in jose.to_private_jwk(key("ES256")).items() if name not in ("alg", "use")}
    changes = {
        "PRIVATE_KEY": json.dumps(private), "KID": key("ES256").kid, "DETAILS": json.dumps(details),
        "LESS": json.dumps(less), "PUSH": json.dumps(push), "ISSUER": party.issuer, "CLIENT_ID": party.client_id,
        "SECRET": party.client_secret or "", "REDIRECT_URI": party.redirect_uri,
    }  # fmt: skip
    code = SCRIPT
    for old, new in changes.items():
        code = code.replace(old, new)
    async with node(tmp_path, main=code) as program:
        found = await program.ask(await sign_in(browser, await program.read(), alice.email))
    assert found["parameters"] == (["client_id", "request_uri"] if push else ["client_id", "request"])
    assert found["tokens"]["authorization_details"] == details
    assert found["less"]["authorization_details"] == less
    assert claims_of(found["less"]["access_token"])["authorization_details"] == less
