"""Resource servers: the console's snippets, each with its library, accept tokens for them and reject all others."""

import json
import secrets
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from idp.accounts.tables import User
from idp.keys import jose
from idp.keys.algorithms import SIGNING_ALGORITHMS
from idp.keys.key_set import key_set
from idp.oauth.clients.registration import register_resource_server
from idp.oauth.clients.service import update_resource_server
from tests.clients.conftest import JAVA, MCP, need, node, of_client, of_resource_server, program, python
from tests.conftest import MakeClient
from tests.support.browser import Browser
from tests.support.server import Server
from tests.support.tokens import decode

pytestmark = pytest.mark.fault(33)


@dataclass
class Tokens:
    """One that an API must take, and those that it must refuse."""

    api: str
    good: str
    bad: dict[str, str]
    subject: str


@pytest.fixture(params=["at+jwt", "JWT"])
async def tokens(
    request: pytest.FixtureRequest, server: Server, browser: Browser, make_client: MakeClient, alice: User
) -> Tokens:
    name, kind = secrets.token_hex(4), request.param
    api = f"https://{name}.example.com"
    await register_resource_server(api, "API", scope=f"{name}:read", access_token_type=kind)
    party = await make_client(scope=f"openid email {name}:read")
    issued = await party.tokens(browser, alice.email)
    other = await party.tokens(browser, alice.email, scope="openid")
    claims = decode(issued["access_token"].split(".")[1])
    past = int(time.time()) - 7200

    def signed(key: jose.SigningKey = key_set.signing("RS256"), typ: str = kind, **changes: Any) -> str:  # noqa: B008
        return jose.sign(key, typ, claims | changes)

    bad = {
        "ID token": issued["id_token"],
        "another audience": other["access_token"],
        "expired": signed(iat=past, exp=past + 600),
        "another issuer": signed(iss="https://evil.example"),
        "another key": signed(jose.generate("RS256")),
        "the ID token's type": signed(typ="JWT", aud=party.client_id) if kind == "JWT" else signed(typ="JWT"),
    }
    return Tokens(api, issued["access_token"], bad, str(alice.id))


async def check(application: Any, tokens: Tokens) -> None:
    """It answers each token with its subject, or with null."""
    assert await application.ask(tokens.good) == tokens.subject
    for kind, token in tokens.bad.items():
        assert await application.ask(token) is None, kind
    assert await application.ask(tokens.good) == tokens.subject


LOOP = """

import json
import sys

for line in sys.stdin:
    try:
        print(json.dumps(claims_of(line.strip())["sub"]))
    except Exception as error:
        print("null")
"""

FASTAPI = """

import json
import sys

from fastapi.testclient import TestClient

client = TestClient(app)
for line in sys.stdin:
    answer = client.get("/", headers={"Authorization": f"Bearer {line.strip()}"})
    assert answer.status_code in (200, 401), answer.text
    print(json.dumps(answer.json().get("sub")))
"""


@pytest.mark.parametrize(
    ("library", "loop"), [("Python: PyJWT", LOOP), ("Python: joserfc", LOOP), ("Python: FastAPI", FASTAPI)]
)
async def test_python(tmp_path: Path, server: Server, tokens: Tokens, library: str, loop: str) -> None:
    snippet = (await of_resource_server(tokens.api, server.issuer))[library]
    async with python(tmp_path, snippet + loop) as application:
        await check(application, tokens)


async def test_mcp(tmp_path: Path, server: Server, tokens: Tokens) -> None:
    """The console shows it for a resource server that is open to clients that registered themselves."""
    need(MCP)
    await update_resource_server(tokens.api, self_registered_clients=True)
    snippet = (await of_resource_server(tokens.api, server.issuer))["Python: MCP"]
    code = f"""{snippet}


import json
import sys

for line in sys.stdin:
    token = asyncio.run(server._token_verifier.verify_token(line.strip()))
    print(json.dumps(token and token.subject))
"""
    (tmp_path / "main.py").write_text(code)
    paths = {"PYTHONPATH": str(MCP), "PYTHONUNBUFFERED": "1"}
    async with program(sys.executable, "main.py", cwd=tmp_path, **paths) as application:
        await check(application, tokens)


async def test_jose(tmp_path: Path, server: Server, tokens: Tokens) -> None:
    snippet = (await of_resource_server(tokens.api, server.issuer))["Node: jose"]
    main = """
import { createInterface } from "node:readline";
import { claimsOf } from "./snippet.mjs";

for await (const line of createInterface({ input: process.stdin })) {
  const claims = await claimsOf(line).catch(() => ({ sub: null }));
  console.log(JSON.stringify(claims.sub));
}
"""
    async with node(tmp_path, main=main, snippet=snippet) as application:
        await check(application, tokens)


SPRING = """
import java.io.*;
import org.springframework.context.annotation.Bean;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.oauth2.client.registration.ClientRegistrationRepository;
import org.springframework.security.oauth2.client.web.*;
import org.springframework.security.oauth2.core.DelegatingOAuth2TokenValidator;
import org.springframework.security.oauth2.jose.jws.SignatureAlgorithm;
import org.springframework.security.oauth2.jwt.*;
import org.springframework.security.web.SecurityFilterChain;

public class Main {
DECODER

CLIENT

    public static void main(String[] arguments) throws IOException {
        var decoder = new Main().jwtDecoder();
        var lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = lines.readLine()) != null; System.out.flush()) {
            try {
                System.out.println('"' + decoder.decode(line).getSubject() + '"');
            } catch (JwtException refused) {
                System.out.println("null");
            }
        }
    }
}
"""


async def test_spring_security(tmp_path: Path, server: Server, tokens: Tokens, make_client: MakeClient) -> None:
    """Its decoder runs. What makes an application send PKCE is compiled."""
    need(JAVA, "java", "javac")
    of_web = await of_client(await make_client())
    (client,) = [text for title, text in of_web.items() if title.startswith("Java: Spring Boot 3")]
    decoder = (await of_resource_server(tokens.api, server.issuer))["Java: Spring Security"]
    (tmp_path / "Main.java").write_text(SPRING.replace("DECODER", decoder).replace("CLIENT", client))
    classes = f"{JAVA}/*:{tmp_path}"
    async with program("javac", "-cp", classes, "-proc:none", "Main.java", cwd=tmp_path) as compiler:
        _, problems = await compiler.process.communicate()
        assert compiler.process.returncode == 0, problems.decode()
    async with program("java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", classes, "Main", cwd=tmp_path) as run:
        await check(run, tokens)


async def test_a_snippet_is_there_for_every_algorithm(db: str) -> None:
    for alg in SIGNING_ALGORITHMS:
        api = f"https://{secrets.token_hex(4)}.example.com"
        await register_resource_server(api, "API", access_token_signed_response_alg=alg)
        found = await of_resource_server(api, "https://id.example.com")
        assert all(alg in text for text in found.values())
        # Spring Security verifies no EdDSA.
        assert ("Java: Spring Security" in found) == (not alg.startswith("Ed"))
        assert json.dumps(found)
