"""Web applications: the console's snippets, each with its library, sign a user in and read the email address."""

from pathlib import Path

import pytest

from idp.accounts.tables import User
from tests.clients.conftest import node, of_client, python, sign_in
from tests.conftest import MakeClient
from tests.support.browser import Browser

pytestmark = pytest.mark.fault(33)

SCOPE = "openid profile email offline_access"

OPENID_CLIENT = """
import { createInterface } from "node:readline";
import { callback, url } from "./snippet.mjs";

console.log(url.href);
for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await callback(new URL(line))));
}
"""

AUTH_JS = """
import { createInterface } from "node:readline";
import { Auth } from "@auth/core";
import { idp } from "./snippet.mjs";

const config = {
  providers: [idp], basePath: "/api/auth", trustHost: true, secret: "x".repeat(32),
  logger: { error: (error) => { console.error(error); process.exit(1); }, warn() {}, debug() {} },
};
const origin = "https://app.example.com";
const jar = new Map();
async function ask(url, init = {}) {
  const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
  const answer = await Auth(new Request(url, { ...init, headers: { ...init.headers, cookie } }), config);
  for (const header of answer.headers.getSetCookie()) {
    const [name, value] = header.split(";")[0].split(/=(.*)/s);
    jar.set(name, value);
  }
  return answer;
}
const { csrfToken } = await (await ask(`${origin}/api/auth/csrf`)).json();
const away = await ask(`${origin}/api/auth/signin/idp`, {
  method: "POST",
  headers: { "content-type": "application/x-www-form-urlencoded" },
  body: new URLSearchParams({ csrfToken }),
});
console.log(away.headers.get("location"));
for await (const line of createInterface({ input: process.stdin })) {
  await ask(line);
  console.log(JSON.stringify((await (await ask(`${origin}/api/auth/session`)).json()).user));
}
"""

AUTHLIB = """
import asyncio
import json
import warnings

warnings.simplefilter("ignore")
from authlib.integrations.starlette_client import OAuth
from starlette.requests import Request

oauth = OAuth()
SNIPPET

session = {}


def request(query: str = "") -> Request:
    scope = {"type": "http", "method": "GET", "path": "/callback", "headers": [(b"host", b"app.example.com")]}
    return Request(scope | {"scheme": "https", "session": session, "query_string": query.encode()})


async def main() -> None:
    away = await oauth.idp.authorize_redirect(request(), "https://app.example.com/callback")
    print(away.headers["location"])
    token = await oauth.idp.authorize_access_token(request(input().partition("?")[2]))
    print(json.dumps(dict(await oauth.idp.userinfo(token=token))))


asyncio.run(main())
"""


async def test_openid_client(tmp_path: Path, browser: Browser, make_client: MakeClient, alice: User) -> None:
    """It sends the secret in the body by default."""
    party = await make_client(scope=SCOPE)
    snippet = (await of_client(party))["Node: openid-client"]
    async with node(tmp_path, main=OPENID_CLIENT, snippet=snippet) as application:
        location = await sign_in(browser, await application.read(), alice.email)
        assert (await application.ask(location))["email"] == alice.email


async def test_auth_js(tmp_path: Path, browser: Browser, make_client: MakeClient, alice: User) -> None:
    party = await make_client(scope=SCOPE, redirect_uris=["https://app.example.com/api/auth/callback/idp"])
    snippet = (await of_client(party))["Node: Auth.js, Next.js"]
    async with node(tmp_path, main=AUTH_JS, snippet=snippet) as application:
        location = await sign_in(browser, await application.read(), alice.email)
        user = await application.ask(location)
    assert (user["email"], user["name"]) == (alice.email, "Alice Example")


async def test_authlib(tmp_path: Path, browser: Browser, make_client: MakeClient, alice: User) -> None:
    party = await make_client(scope=SCOPE)
    snippet = (await of_client(party))["Python: Authlib with Flask or Starlette"]
    async with python(tmp_path, AUTHLIB.replace("SNIPPET", snippet)) as application:
        location = await sign_in(browser, await application.read(), alice.email)
        assert (await application.ask(location))["email"] == alice.email
