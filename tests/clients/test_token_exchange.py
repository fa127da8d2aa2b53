"""docs/token-exchange.md as a reader follows it, and token exchange by libraries that we did not write."""

import asyncio
import json
import re
import secrets
import shlex
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from idp.accounts.tables import User
from idp.oauth.clients.registration import register_resource_server
from idp.oauth.token.token_exchange import GRANT_TYPE
from tests.cli.conftest import Cli
from tests.clients.conftest import node
from tests.conftest import MASTER_KEY, MakeClient
from tests.support.browser import Browser
from tests.support.oauth import RelyingParty
from tests.support.server import Server
from tests.support.tokens import claims_of

PAGE = (Path(__file__).parents[2] / "docs" / "token-exchange.md").read_text()
ISSUER = "https://id.example.com"

# A service that exchanges by `genericGrantRequest`, and one that validates the result with `jose`.
NODE = """
import { createInterface } from "node:readline";
import * as client from "openid-client";
import { createRemoteJWKSet, jwtVerify } from "jose";

const config = await client.discovery(new URL("ISSUER"), "CLIENT_ID", "SECRET", undefined, {
  execute: [client.allowInsecureRequests],
});
const jwks = createRemoteJWKSet(new URL(config.serverMetadata().jwks_uri));
for await (const line of createInterface({ input: process.stdin })) {
  const { subject_token, resource } = JSON.parse(line);
  const tokens = await client.genericGrantRequest(config, "urn:ietf:params:oauth:grant-type:token-exchange", {
    subject_token, resource, subject_token_type: "urn:ietf:params:oauth:token-type:access_token",
  });
  const { payload } = await jwtVerify(tokens.access_token, jwks, {
    issuer: "ISSUER", audience: resource, typ: "at+jwt",
  });
  console.log(JSON.stringify({ tokens, payload, supported: config.serverMetadata().grant_types_supported }));
}
"""


class Page:
    """The page with names of its own, because other tests use the same database."""

    def __init__(self, cli: Cli, server: Server, http: httpx.AsyncClient) -> None:
        self.tag = secrets.token_hex(3)
        self.cli, self.server, self.http = cli, server, http
        self.text = PAGE
        for name in ("orders", "stock", "agent", "calendar"):
            self.text = re.sub(rf"\b{name}\b(?! (?:service|has|gets|that|exchanges))", f"{name}-{self.tag}", self.text)

    def commands(self, section: str, program: str) -> list[list[str]]:
        """Return the words of each command of a section, without the program."""
        (part,) = [part for part in self.text.split("\n## ") if part.startswith(section)]
        blocks = "".join(re.findall(r"```console\n(.*?)```", part, re.DOTALL)).replace("\\\n", "")
        lines = [line.removeprefix("$ ") for line in blocks.splitlines()]
        return [words[1:] for line in lines if (words := shlex.split(line))[0] == program]

    async def run(self, words: list[str]) -> str:
        return (await asyncio.to_thread(self.cli, *words)).out

    async def curl(self, words: list[str], secret: str, token: str) -> httpx.Response:
        """Send a request as curl does, until the server knows the policy."""
        url, *rest = words
        options = list(zip(rest[::2], rest[1::2], strict=True))
        form = dict(value.split("=", 1) for name, value in options if name in ("-d", "--data-urlencode"))
        form = {name: value.replace("$TOKEN", token) for name, value in form.items()}
        user = dict(options)["-u"].partition(":")[0]
        async with asyncio.timeout(30):
            while True:
                response = await self.http.post(url.replace(ISSUER, self.server.issuer), data=form, auth=(user, secret))
                if response.status_code == 200:
                    return response
                assert response.json()["error"] in ("invalid_client", "unauthorized_client", "invalid_target")
                await asyncio.sleep(0.05)


@pytest.fixture
def page(db: str, server: Server, http: httpx.AsyncClient, tmp_path: Path) -> Page:
    settings = {
        "IDP_DATABASE_URL": db,
        "IDP_MASTER_KEY": MASTER_KEY,
        "IDP_ISSUER": server.issuer,
        "IDP_TOKEN_EXCHANGE": "true",
    }
    return Page(Cli(tmp_path, settings), server, http)


def validated(server: Server, token: str, audience: str) -> dict[str, Any]:
    """Return the claims as a resource server reads them that never asks us about a token."""
    keys = jwt.PyJWKClient(f"{server.issuer}/.well-known/jwks.json")
    claims: dict[str, Any] = jwt.decode(
        token, keys.get_signing_key_from_jwt(token), algorithms=["RS256"], audience=audience, issuer=server.issuer
    )
    return claims


async def test_a_service_that_acts_for_a_user(
    page: Page, server: Server, make_client: MakeClient, browser: Browser, alice: User
) -> None:
    section = "A service that acts for a user"
    create, *others = page.commands(section, "idp")
    secret = (await page.run(create)).split()[3]
    for words in others:
        await page.run(words)
    orders, stock = (f"https://{name}-{page.tag}.example.com" for name in ("orders", "stock"))
    shop = await make_client(scope=f"openid orders-{page.tag}:read")
    token = (await shop.tokens(browser, alice.email, resource=orders))["access_token"]
    (request,) = page.commands(section, "curl")
    answer = (await page.curl(request, secret, token)).json()
    assert answer["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    claims = await asyncio.to_thread(validated, server, answer["access_token"], stock)
    shown = json.loads(re.findall(r"```json\n(.*?)```", page.text, re.DOTALL)[0])
    assert {name: claims[name] for name in shown} == shown | {"iss": server.issuer, "sub": str(alice.id)}
    service = RelyingParty(server.issuer, page.http, f"orders-{page.tag}", secret)
    assert (await service.introspect(answer["access_token"]))["act"] == shown["act"]
    # The shop, for which the token is not, learns nothing of it, nor does it open userinfo.
    assert await shop.introspect(answer["access_token"]) == {"active": False}
    assert (await shop.userinfo(answer["access_token"])).status_code == 403


async def test_an_agent_that_gives_away_less(
    page: Page, server: Server, make_client: MakeClient, browser: Browser, alice: User
) -> None:
    calendar, read = f"https://calendar-{page.tag}.example.com", f"calendar-{page.tag}:read"
    await register_resource_server(calendar, "Calendar", scope=f"{read} calendar-{page.tag}:write")
    agent = await make_client(
        client_id=f"agent-{page.tag}",
        grant_types=["authorization_code", GRANT_TYPE],
        scope=f"openid {read} calendar-{page.tag}:write",
    )
    section = "An agent that gives away less"
    for words in page.commands(section, "idp"):
        await page.run(words)
    token = (await agent.tokens(browser, alice.email, resource=calendar))["access_token"]
    (request,) = page.commands(section, "curl")
    assert agent.client_secret is not None
    answer = (await page.curl(request, agent.client_secret, token)).json()
    assert (answer["scope"], answer["expires_in"]) == (read, 60)
    assert claims_of(answer["access_token"])["aud"] == calendar


async def test_openid_client(
    page: Page, server: Server, make_client: MakeClient, browser: Browser, alice: User, tmp_path: Path
) -> None:
    """openid-client has no function for the grant, and needs none; jose validates the token offline."""
    section = "A service that acts for a user"
    create, *others = page.commands(section, "idp")
    secret = (await page.run(create)).split()[3]
    for words in others:
        await page.run(words)
    shop = await make_client(scope=f"openid orders-{page.tag}:read")
    token = (await shop.tokens(browser, alice.email, resource=f"https://orders-{page.tag}.example.com"))["access_token"]
    (request,) = page.commands(section, "curl")
    await page.curl(request, secret, token)
    client_id, stock = f"orders-{page.tag}", f"https://stock-{page.tag}.example.com"
    main = NODE.replace("ISSUER", server.issuer).replace("CLIENT_ID", client_id).replace("SECRET", secret)
    async with node(tmp_path, main=main) as program:
        found = await program.ask(json.dumps({"subject_token": token, "resource": stock}))
    assert found["tokens"]["token_type"] == "bearer"
    assert found["payload"]["act"] == {"sub": client_id, "client_id": client_id}
    assert found["payload"]["sub"] == str(alice.id)
    assert GRANT_TYPE in found["supported"]
