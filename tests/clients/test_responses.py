"""Signed and encrypted responses, JARM and the hybrid response types, read by openid-client."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, RSAKey

from idp.accounts.tables import User
from idp.oauth import response_types
from idp.settings import settings
from tests.clients.conftest import node, sign_in
from tests.conftest import MakeClient
from tests.support.browser import Browser, open_browser
from tests.support.oauth import RelyingParty
from tests.support.server import Server

# Everything that the library checks by itself, with the metadata that the client registered.
RESPONSES = """
import { createInterface } from "node:readline";
import * as client from "openid-client";

const metadata = OPTIONS;
const config = await client.discovery(
  new URL("ISSUER"), "CLIENT_ID", { client_secret: "SECRET", ...metadata }, undefined,
  { execute: [client.allowInsecureRequests, client.useJwtResponseMode] },
);
if (metadata.id_token_encrypted_response_alg) {
  const key = await crypto.subtle.importKey("jwk", PRIVATE_KEY, ALGORITHM, false, [USAGE]);
  const alg = metadata.id_token_encrypted_response_alg;
  client.enableDecryptingResponses(config, [metadata.id_token_encrypted_response_enc], { key, alg });
}
const [pkceCodeVerifier, expectedState] = [client.randomPKCECodeVerifier(), client.randomState()];
const expectedNonce = client.randomNonce();
console.log(client.buildAuthorizationUrl(config, {
  redirect_uri: "REDIRECT_URI", scope: "openid email", state: expectedState, nonce: expectedNonce,
  code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier), code_challenge_method: "S256",
}).href);
for await (const line of createInterface({ input: process.stdin })) {
  const checks = { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: true };
  const tokens = await client.authorizationCodeGrant(config, new URL(line), checks);
  const claims = tokens.claims();
  const info = await client.fetchUserInfo(config, tokens.access_token, claims.sub);
  const introspection = await client.tokenIntrospection(config, tokens.access_token);
  console.log(JSON.stringify({ claims, info, introspection, parts: tokens.id_token.split(".").length }));
  process.exit(0);
}
"""

HYBRID = """
import { createInterface } from "node:readline";
import * as client from "openid-client";

const config = await client.discovery(new URL("ISSUER"), "CLIENT_ID", "SECRET", undefined, {
  execute: [client.allowInsecureRequests, FUNCTIONS],
});
const [pkceCodeVerifier, expectedState] = [client.randomPKCECodeVerifier(), client.randomState()];
const expectedNonce = client.randomNonce();
const url = client.buildAuthorizationUrl(config, {
  redirect_uri: "REDIRECT_URI", scope: "openid email", state: expectedState, nonce: expectedNonce,
  code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier), code_challenge_method: "S256",
});
console.log(url.href);
for await (const line of createInterface({ input: process.stdin })) {
  if (url.searchParams.get("response_type") === "id_token") {
    const claims = await client.implicitAuthentication(config, new URL(line), expectedNonce, { expectedState });
    console.log(JSON.stringify({ claims }));
  } else {
    const checks = { pkceCodeVerifier, expectedState, expectedNonce };
    const tokens = await client.authorizationCodeGrant(config, new URL(line), checks);
    console.log(JSON.stringify({ claims: tokens.claims(), tokens }));
  }
  process.exit(0);
}
"""

RSA, EC = RSAKey.generate_key(2048, {"use": "enc"}), ECKey.generate_key("P-256", {"use": "enc"})
NOTHING: dict[str, Any] = {}


def _for(party: RelyingParty, script: str, **changes: str) -> str:
    changes |= {"ISSUER": party.issuer, "CLIENT_ID": party.client_id, "REDIRECT_URI": party.redirect_uri}
    for name, value in (changes | {"SECRET": party.client_secret or ""}).items():
        script = script.replace(name, value)
    return script


def _encrypted(alg: str, enc: str) -> dict[str, Any]:
    kinds = ("id_token", "userinfo", "introspection", "authorization")
    key = RSA if alg.startswith("RSA") else EC
    found: dict[str, Any] = {"jwks": {"keys": [dict(key.as_dict(private=False))]}}
    for kind in kinds:
        found |= {f"{kind}_encrypted_response_alg": alg, f"{kind}_encrypted_response_enc": enc}
    return found


@pytest.mark.parametrize(
    ("alg", "encryption"),
    [
        ("RS256", NOTHING),
        ("ES256", NOTHING),
        ("PS256", NOTHING),
        ("RS256", _encrypted("ECDH-ES", "A128CBC-HS256")),
        ("ES256", _encrypted("ECDH-ES+A128KW", "A256GCM")),
        ("RS256", _encrypted("RSA-OAEP-256", "A256CBC-HS512")),
        ("RS256", _encrypted("RSA-OAEP", "A128GCM")),
    ],
    ids=lambda value: value.get("id_token_encrypted_response_alg", "signed") if isinstance(value, dict) else value,
)
async def test_every_response_of_a_client(
    make_client: MakeClient, browser: Browser, alice: User, tmp_path: Path, alg: str, encryption: dict[str, Any]
) -> None:
    """JARM, ID token, userinfo and introspection."""
    kinds = ("id_token", "userinfo", "introspection", "authorization")
    metadata = {f"{kind}_signed_response_alg": alg for kind in kinds} | encryption
    party = await make_client(**metadata)
    key_alg = str(metadata.get("id_token_encrypted_response_alg"))
    rsa = key_alg.startswith("RSA")
    main = _for(
        party,
        RESPONSES,
        OPTIONS=json.dumps({name: value for name, value in metadata.items() if name != "jwks"}),
        PRIVATE_KEY=json.dumps((RSA if rsa else EC).as_dict(private=True) | {"use": "enc"}),
        ALGORITHM=json.dumps(
            {"name": "RSA-OAEP", "hash": "SHA-1" if key_alg == "RSA-OAEP" else "SHA-256"}
            if rsa
            else {"name": "ECDH", "namedCurve": "P-256"}
        ),
        USAGE='"decrypt"' if rsa else '"deriveBits"',
    )
    async with node(tmp_path, main=main) as program:
        response = await sign_in(browser, await program.read(), alice.email)
        assert set(response.partition("?")[2].split("=")[:1]) == {"response"}
        seen = await program.ask(response)
    assert seen["claims"]["sub"] == seen["info"]["sub"] == seen["introspection"]["sub"] == str(alice.id)
    assert seen["info"]["email"] == alice.email
    assert seen["introspection"]["active"] is True
    assert seen["parts"] == (5 if encryption else 3)


@pytest.mark.parametrize(
    ("response_type", "functions"),
    [
        ("code id_token", "client.useCodeIdTokenResponseType"),
        # With the hash of the state in the ID token.
        ("code id_token", "client.useCodeIdTokenResponseType, client.enableDetachedSignatureResponseChecks"),
        ("id_token", "client.useIdTokenResponseType"),
    ],
)
async def test_hybrid_and_implicit(
    make_client: MakeClient,
    start_server: Callable[..., Server],
    alice: User,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    response_type: str,
    functions: str,
) -> None:
    config = settings().model_copy(update={"legacy_response_types": True})
    monkeypatch.setattr(response_types, "settings", lambda: config)
    server = await asyncio.to_thread(start_server, IDP_LEGACY_RESPONSE_TYPES="true")
    party = await make_client(
        server, grant_types=["authorization_code", "implicit"], response_types=["code", response_type]
    )
    main = _for(party, HYBRID, FUNCTIONS=functions)
    async with open_browser(server.issuer) as home, node(tmp_path, main=main) as program:
        response = await sign_in(home, await program.read(), alice.email)
        assert response.startswith(f"{party.redirect_uri}#")
        seen = await program.ask(response)
    assert seen["claims"]["sub"] == str(alice.id)
    assert ("tokens" in seen) is ("code" in response_type)
    assert seen["claims"].get("email") == (None if "code" in response_type else alice.email)
