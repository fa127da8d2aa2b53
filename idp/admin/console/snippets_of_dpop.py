"""Snippets for clients whose tokens must be bound to a key (RFC 9449), with libraries that make proofs."""

from typing import Any

from idp.admin.console.snippets_of_web import insecure
from idp.settings import settings

Snippets = list[tuple[str, str]]


def of(row: Any, secret: str) -> Snippets:
    """Return the snippets for a client by its application type. We know no library for native apps."""
    if not row["redirect_uris"]:
        return [_service(row, secret)]
    if row["application_type"] == "native":
        return []
    return [_single_page(row) if row["token_endpoint_auth_method"] == "none" else _web(row, secret)]


def _keys(row: Any, secret: str) -> str:
    issuer = settings().issuer
    return f"""import * as client from "openid-client";

const config = await client.discovery(new URL("{issuer}"), "{row["client_id"]}", "{secret}"{insecure(issuer)});
const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair("ES256"));"""


def _service(row: Any, secret: str) -> tuple[str, str]:
    parameters = f'{{ scope: "{row["scope"]}" }}' if row["scope"] else "undefined"
    return (
        "Node: openid-client",
        f"""{_keys(row, secret)}
export const tokens = await client.clientCredentialsGrant(config, {parameters}, {{ DPoP }});
// For requests with the token: client.fetchProtectedResource(config, tokens.access_token, …, {{ DPoP }})""",
    )


def _web(row: Any, secret: str) -> tuple[str, str]:
    return (
        "Node: openid-client",
        f"""{_keys(row, secret)}
const code_verifier = client.randomPKCECodeVerifier();
const state = client.randomState();
// Keep both in the browser's session, and send the browser to url.href.
export const url = client.buildAuthorizationUrl(config, {{
  redirect_uri: "{row["redirect_uris"][0]}",
  scope: "{row["scope"]}",
  state,
  code_challenge: await client.calculatePKCECodeChallenge(code_verifier),
  code_challenge_method: "S256",
  dpop_jkt: await DPoP.calculateThumbprint(),
}});

export async function callback(currentUrl) {{
  const expected = {{ pkceCodeVerifier: code_verifier, expectedState: state, idTokenExpected: true }};
  const tokens = await client.authorizationCodeGrant(config, currentUrl, expected, undefined, {{ DPoP }});
  return await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub, {{ DPoP }});
}}""",
    )


def _single_page(row: Any) -> tuple[str, str]:
    # The library calls userinfo with the Bearer scheme only, so the ID token must have the claims.
    return (
        "JavaScript: oidc-client-ts (with scope claims in the ID token)",
        f"""import {{ IndexedDbDPoPStore, UserManager }} from "oidc-client-ts";

const users = new UserManager({{
  authority: "{settings().issuer}",
  client_id: "{row["client_id"]}",
  redirect_uri: "{row["redirect_uris"][0]}",
  scope: "{row["scope"]}",
  dpop: {{ bind_authorization_code: true, store: new IndexedDbDPoPStore() }},
}});
const atCallback = new URLSearchParams(location.search).has("state");
const user = atCallback ? await users.signinCallback() : await users.getUser();
if (!user) await users.signinRedirect();
else history.replaceState(null, "", location.pathname);""",
    )
