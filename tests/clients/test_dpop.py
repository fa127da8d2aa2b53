"""DPoP by libraries that we did not write, and the scripts of docs/dpop.md."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from idp.accounts.tables import User
from idp.keys import jose
from idp.keys.key_set import key_set
from idp.oauth.clients.registration import register_resource_server
from idp.oauth.clients.service import update_client
from tests.clients.conftest import JAVA, need, node, of_client, of_resource_server, program, script, sign_in
from tests.conftest import MakeClient
from tests.support.browser import Browser, open_browser
from tests.support.dpop import DPoPKey
from tests.support.oauth import REDIRECT_URI, RelyingParty
from tests.support.server import Server, free_port
from tests.support.tokens import claims_of

API = "https://api.example.com"

# The application beside the service: the API, which gets a request for the URL that the client called.
SERVICE = """
import { createServer } from "node:http";

createServer(async (request, response) => {
  const { authenticate } = await import("./api.mjs");
  try {
    const claims = await authenticate(new Request(`API_URL${request.url}`, { headers: request.headers }));
    response.writeHead(200).end(JSON.stringify(claims));
  } catch (error) {
    response.writeHead(401).end(JSON.stringify({ error: error.message }));
  }
}).listen(API_PORT, "127.0.0.1", async () => {
  const { tokens, orders } = await import("./client.mjs");
  const bearer = await fetch("API_URL/orders", { headers: { authorization: `Bearer ${tokens.access_token}` } });
  const answer = await orders();
  console.log(JSON.stringify({ tokens, status: answer.status, claims: await answer.json(), bearer: bearer.status }));
  process.exit(0);
});
"""

# A confidential web application: a pushed request, the code, userinfo, refresh, userinfo.
OPENID_CLIENT = """
import { createInterface } from "node:readline";
import * as client from "openid-client";

const config = await client.discovery(new URL("ISSUER"), "CLIENT_ID", "SECRET", AUTHENTICATION, {
  execute: [client.allowInsecureRequests],
});
const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair("ALG"));
const code_verifier = client.randomPKCECodeVerifier();
const url = await client.buildAuthorizationUrlWithPAR(config, {
  redirect_uri: "REDIRECT_URI", scope: "openid email offline_access", prompt: "consent",
  code_challenge: await client.calculatePKCECodeChallenge(code_verifier), code_challenge_method: "S256",
}, { DPoP });
console.log(url.href);
for await (const line of createInterface({ input: process.stdin })) {
  const checks = { pkceCodeVerifier: code_verifier };
  const first = await client.authorizationCodeGrant(config, new URL(line), checks, undefined, { DPoP });
  const { sub } = first.claims();
  const info = await client.fetchUserInfo(config, first.access_token, sub, { DPoP });
  const second = await client.refreshTokenGrant(config, first.refresh_token, undefined, { DPoP });
  const again = await client.fetchUserInfo(config, second.access_token, sub, { DPoP });
  console.log(JSON.stringify({ first, second, info, again, jkt: await DPoP.calculateThumbprint() }));
  process.exit(0);
}
"""

# A public client by the lower library: the code is bound by `dpop_jkt`, and another key is tried for everything.
OAUTH4WEBAPI = """
import { createInterface } from "node:readline";
import * as oauth from "oauth4webapi";

const http = { [oauth.allowInsecureRequests]: true };
const issuer = new URL("ISSUER");
const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, http));
const client = { client_id: "CLIENT_ID" };
const own = oauth.DPoP(client, await oauth.generateKeyPair("ALG"));
const other = oauth.DPoP(client, await oauth.generateKeyPair("ALG"));
const verifier = oauth.generateRandomCodeVerifier();
const url = new URL(as.authorization_endpoint);
for (const [name, value] of Object.entries({
  client_id: client.client_id, redirect_uri: "REDIRECT_URI", response_type: "code", scope: "openid email",
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: "S256",
  dpop_jkt: await own.calculateThumbprint(),
})) url.searchParams.set(name, value);
console.log(url.href);

// Each request once more if the server wants a nonce, as the library's documentation says.
async function tried(request, process, retries = 1) {
  try {
    return await process(await request());
  } catch (error) {
    if (retries && oauth.isDPoPNonceError(error)) return tried(request, process, retries - 1);
    return { error: error.error ?? error.cause[0].parameters.error };
  }
}
for await (const line of createInterface({ input: process.stdin })) {
  const params = oauth.validateAuthResponse(as, client, new URL(line), oauth.expectNoState);
  const auth = oauth.None();
  const code = (DPoP) => tried(
    () => oauth.authorizationCodeGrantRequest(as, client, auth, params, "REDIRECT_URI", verifier, { DPoP, ...http }),
    (answer) => oauth.processAuthorizationCodeResponse(as, client, answer),
  );
  const refresh = (token, DPoP) => tried(
    () => oauth.refreshTokenGrantRequest(as, client, auth, token, { DPoP, ...http }),
    (answer) => oauth.processRefreshTokenResponse(as, client, answer),
  );
  const info = (token, DPoP) => tried(
    () => oauth.userInfoRequest(as, client, token, { DPoP, ...http }),
    (answer) => oauth.processUserInfoResponse(as, client, oauth.skipSubjectCheck, answer),
  );
  const stolen = await code(other);
  const first = await code(own);
  const refused = await refresh(first.refresh_token, other);
  const second = await refresh(first.refresh_token, own);
  const [me, thief] = [await info(second.access_token, own), await info(second.access_token, other)];
  console.log(JSON.stringify({ stolen, first, refused, second, info: me, thief }));
  process.exit(0);
}
"""

OF_CONSOLE = """
import { createInterface } from "node:readline";
import { callback, url } from "./snippet.mjs";

console.log(url.href);
for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await callback(new URL(line))));
  process.exit(0);
}
"""


@pytest.fixture(params=["optional", "required"])
async def nonces(request: pytest.FixtureRequest, server: Server, start_server: Callable[..., Server]) -> Server:
    """Servers that do and do not require nonces."""
    if request.param == "optional":
        return server
    return await asyncio.to_thread(start_server, IDP_DPOP_NONCE_REQUIRED="true")


@pytest.fixture
async def home(nonces: Server) -> AsyncIterator[Browser]:
    """A browser at that server."""
    async with open_browser(nonces.issuer) as browser:
        yield browser


async def _service(make_client: MakeClient, at: Server, api: str) -> RelyingParty:
    name = secrets.token_hex(4)
    await register_resource_server(api, "API", scope=f"{name}:read")
    return await make_client(at, grant_types=["client_credentials"], redirect_uris=[], scope=f"{name}:read")


async def test_a_service_and_an_api_in_node(make_client: MakeClient, nonces: Server, tmp_path: Path) -> None:
    """Both scripts of the document, with openid-client and oauth4webapi."""
    api = f"http://127.0.0.1:{(port := free_port())}"
    party = await _service(make_client, nonces, api)
    changes = {"https://id.example.com": nonces.issuer, API: api, "my-service": party.client_id}
    changes |= {
        '"THE_SECRET")': f'"{party.client_secret}", undefined, {{ execute: [client.allowInsecureRequests] }})',
        "discoveryRequest(issuer)": "discoveryRequest(issuer, { [oauth.allowInsecureRequests]: true })",
        f'"{api}")': f'"{api}", {{ [oauth.allowInsecureRequests]: true }})',
    }
    files = {
        "main": SERVICE.replace("API_URL", api).replace("API_PORT", str(port)),
        "client": script("js", "openid-client", changes),
        "api": script("js", "oauth4webapi", changes),
    }
    async with node(tmp_path, **files) as program:
        seen = await program.ask("")
    assert (seen["status"], seen["bearer"]) == (200, 401), seen
    assert seen["tokens"]["token_type"] == "dpop"
    assert seen["claims"]["client_id"] == party.client_id
    assert seen["claims"]["cnf"] == claims_of(seen["tokens"]["access_token"])["cnf"]


@pytest.mark.parametrize("alg", ["ES256", "Ed25519"])
async def test_openid_client(
    make_client: MakeClient, nonces: Server, home: Browser, alice: User, tmp_path: Path, alg: str
) -> None:
    party = await make_client(nonces, scope="openid email offline_access", dpop_bound_access_tokens=True)
    main = _for(party, OPENID_CLIENT, alg).replace("AUTHENTICATION", "undefined")
    async with node(tmp_path, main=main) as program:
        seen = await program.ask(await sign_in(home, await program.read(), alice.email))
    assert seen["info"]["email"] == seen["again"]["email"] == alice.email
    for tokens in (seen["first"], seen["second"]):
        assert tokens["token_type"] == "dpop"
        assert claims_of(tokens["access_token"])["cnf"] == {"jkt": seen["jkt"]}


async def test_openid_client_with_a_key_for_itself(
    make_client: MakeClient, nonces: Server, home: Browser, alice: User, tmp_path: Path
) -> None:
    """private_key_jwt, pushed requests and DPoP, as FAPI 2.0 combines them. Each retry needs another assertion."""
    party, own = await make_client(nonces, scope="openid email offline_access"), jose.generate("PS256")
    await update_client(party.client_id, token_endpoint_auth_method="private_key_jwt", jwks={"keys": [own.public_jwk]})
    await _until_refused(party)
    imported = f"""await crypto.subtle.importKey(
      "jwk", {json.dumps(jose.to_private_jwk(own))}, {{ name: "RSA-PSS", hash: "SHA-256" }}, false, ["sign"])"""
    main = _for(party, OPENID_CLIENT, "ES256").replace(f'"{party.client_secret}"', "undefined")
    main = main.replace("AUTHENTICATION", f"client.PrivateKeyJwt({imported})")
    async with node(tmp_path, main=main) as program:
        seen = await program.ask(await sign_in(home, await program.read(), alice.email))
    assert seen["again"]["email"] == alice.email
    assert claims_of(seen["second"]["access_token"])["cnf"] == {"jkt": seen["jkt"]}


async def _until_refused(party: RelyingParty) -> None:
    """Wait until the server knows that the client has no secret any more."""
    for _ in range(1500):
        if (await party.post("/token", grant_type="none-such")).json()["error"] == "invalid_client":
            return
        await asyncio.sleep(0.02)
    raise AssertionError("The server does not get to know a changed client.")


@pytest.mark.parametrize("alg", ["ES256", "PS256"])
async def test_oauth4webapi(
    make_client: MakeClient, nonces: Server, home: Browser, alice: User, tmp_path: Path, alg: str
) -> None:
    party = await make_client(nonces, token_endpoint_auth_method="none", scope="openid email")
    async with node(tmp_path, main=_for(party, OAUTH4WEBAPI, alg)) as program:
        seen = await program.ask(await sign_in(home, await program.read(), alice.email))
    assert (seen["stolen"], seen["refused"]) == ({"error": "invalid_grant"}, {"error": "invalid_grant"}), seen
    assert seen["second"]["token_type"] == "dpop"
    assert seen["info"]["email"] == alice.email
    assert seen["thief"] == {"error": "invalid_token"}


def _for(party: RelyingParty, code: str, alg: str) -> str:
    values = {"ISSUER": party.issuer, "CLIENT_ID": party.client_id, "SECRET": party.client_secret or ""}
    for name, value in (values | {"REDIRECT_URI": REDIRECT_URI, '"ALG"': f'"{alg}"'}).items():
        code = code.replace(name, value)
    return code


async def test_the_consoles_snippets(
    make_client: MakeClient, server: Server, browser: Browser, alice: User, tmp_path: Path
) -> None:
    """For clients whose tokens must be bound."""
    party = await make_client(scope="openid email", dpop_bound_access_tokens=True)
    (snippet,) = (await of_client(party)).values()
    async with node(tmp_path, main=OF_CONSOLE, snippet=snippet) as program:
        assert (await program.ask(await sign_in(browser, await program.read(), alice.email)))["email"] == alice.email
    service = await make_client(
        grant_types=["client_credentials"], redirect_uris=[], scope="jobs:read", dpop_bound_access_tokens=True
    )
    (snippet,) = (await of_client(service)).values()
    (folder := tmp_path / "service").mkdir()
    main = 'import { tokens } from "./snippet.mjs"; console.log(JSON.stringify(tokens));'
    async with node(folder, main=main, snippet=snippet) as program:
        assert (await program.ask(""))["token_type"] == "dpop"


# Java

SPRING = """
import java.io.*;
import org.springframework.context.annotation.Bean;
import org.springframework.security.authentication.ProviderManager;
import org.springframework.security.core.AuthenticationException;
import org.springframework.security.oauth2.core.DelegatingOAuth2TokenValidator;
import org.springframework.security.oauth2.jose.jws.SignatureAlgorithm;
import org.springframework.security.oauth2.jwt.*;
import org.springframework.security.oauth2.server.resource.authentication.*;

public class Main {
DECODER

    public static void main(String[] arguments) throws IOException {
        var bearer = new ProviderManager(new JwtAuthenticationProvider(new Main().jwtDecoder()));
        var dpop = new ProviderManager(new DPoPAuthenticationProvider(bearer));
        var lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = lines.readLine()) != null; System.out.flush()) {
            var words = line.split(" ");
            try {
                dpop.authenticate(new DPoPAuthenticationToken(words[2], words[3], words[0], words[1]));
                System.out.println("true");
            } catch (AuthenticationException refused) {
                System.out.println("false");
            }
        }
    }
}
"""


async def test_an_api_in_spring_security(make_client: MakeClient, server: Server, tmp_path: Path) -> None:
    """What its resource server does with a DPoP request, with the decoder that the console prints."""
    need(JAVA, "java", "javac")
    party = await _service(make_client, server, api := f"https://{secrets.token_hex(4)}.example.com")
    key, url = DPoPKey(), f"{api}/orders"
    issued = await party.post("/token", key("POST", f"{server.issuer}/token"), grant_type="client_credentials")
    token = issued.json()["access_token"]
    decoder = (await of_resource_server(api, server.issuer))["Java: Spring Security"]
    (tmp_path / "Main.java").write_text(SPRING.replace("DECODER", decoder))
    classes = f"{JAVA}/*:{tmp_path}"
    async with program("javac", "-cp", classes, "-proc:none", "Main.java", cwd=tmp_path) as compiler:
        _, problems = await compiler.process.communicate()
        assert compiler.process.returncode == 0, problems.decode()
    async with program("java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", classes, "Main", cwd=tmp_path) as run:
        good = key.proof("GET", url, token)
        assert await run.ask(f"GET {url} {token} {good}") is True
        for proof in (good, DPoPKey().proof("GET", url, token), key.proof("GET", url), key.proof("POST", url, token)):
            assert await run.ask(f"GET {url} {token} {proof}") is False


# Python


@pytest.fixture
def api_in_python(server: Server) -> Iterator[dict[str, Any]]:
    """The names of the document's resource server."""
    names: dict[str, Any] = {}
    exec(script("python", "PyJWKClient", {"https://id.example.com": server.issuer}), names)
    yield names
    names["used"].clear()


async def test_a_client_in_python(make_client: MakeClient, nonces: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script of the document gets a token, by its own proofs, and asks the API with another proof."""
    await register_resource_server(api := f"https://{secrets.token_hex(4)}.example.com", "API")
    party = await make_client(nonces, grant_types=["client_credentials"], redirect_uris=[], scope="orders:read")
    names: dict[str, Any] = {}
    changes = {"https://id.example.com": nonces.issuer, API: api, "my-service": party.client_id}
    exec(script("python", "def proof(", changes | {"THE_SECRET": party.client_secret or ""}), names)
    asked: dict[str, Any] = {}
    monkeypatch.setattr(names["httpx"], "get", lambda url, headers: asked.update(url=url, **headers))
    await asyncio.to_thread(names["orders"])
    checker: dict[str, Any] = {}
    exec(script("python", "PyJWKClient", {"https://id.example.com": nonces.issuer, API: api}), checker)
    claims = await asyncio.to_thread(checker["claims_of"], "GET", asked["url"], asked["Authorization"], [asked["DPoP"]])
    assert claims["client_id"] == party.client_id


async def test_an_api_in_python(api_in_python: dict[str, Any], server: Server) -> None:
    """The script of the document accepts a bound token with its proof, and nothing else."""
    key, thief, url = DPoPKey(), DPoPKey(), f"{API}/orders"
    now = int(time.time())
    claims = {"iss": server.issuer, "aud": API, "sub": "a", "iat": now, "exp": now + 60}
    bound = jose.sign(key_set.signing("RS256"), "at+jwt", claims | {"cnf": {"jkt": key.jkt}})
    bearer = jose.sign(key_set.signing("RS256"), "at+jwt", claims)

    def ask(authorization: str, *proofs: str, at: str = url) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = api_in_python["claims_of"]("GET", at, authorization, list(proofs))
        except api_in_python["Refused"]:
            return None
        return found

    def checked() -> None:
        good = key.proof("GET", url, bound)
        assert ask(f"DPoP {bound}", good) == claims | {"cnf": {"jkt": key.jkt}}
        assert ask(f"DPoP {bound}", good) is None
        assert ask(f"DPoP {bound}", key.proof("GET", url, bound), at=f"{url}?limit=1") is not None
        assert ask(f"Bearer {bearer}") == claims
        refused: list[tuple[str, ...]] = [
            (f"Bearer {bound}",),
            (f"Bearer {bound}", key.proof("GET", url, bound)),
            (f"DPoP {bound}",),
            (f"DPoP {bound}", key.proof("GET", url, bound), key.proof("GET", url, bound)),
            (f"DPoP {bound}", thief.proof("GET", url, bound)),
            (f"DPoP {bound}", key.proof("POST", url, bound)),
            (f"DPoP {bound}", key.proof("GET", f"{API}/others", bound)),
            (f"DPoP {bound}", key.proof("GET", url, bearer)),
            (f"DPoP {bound}", key.proof("GET", url)),
            (f"DPoP {bound}", key.proof("GET", url, bound, iat=now - 3600)),
            (f"DPoP {bound}", key.proof("GET", url, bound, iat=now + 3600)),
            (f"DPoP {bound}", "x"),
            (f"DPoP {bearer}", key.proof("GET", url, bearer)),
            ("DPoP x", key.proof("GET", url, "x")),
            ("", ""),
        ]
        for authorization, *proofs in refused:
            assert ask(authorization, *proofs) is None

    await asyncio.to_thread(checked)
