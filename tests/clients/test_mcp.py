"""MCP: from the URL of a server to a tool call, with the SDKs of others. The server is the one of docs/mcp.md."""

import asyncio
import json
import re
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from idp.accounts.tables import User
from idp.oauth.clients.registration import register_resource_server
from idp.oauth.clients.service import delete_client, delete_resource_server
from tests.clients.conftest import HERE, MCP, NODE, Program, need, program, sign_in
from tests.conftest import MASTER_KEY
from tests.support.browser import Browser, open_browser
from tests.support.elsewhere import Authority, answer, serving
from tests.support.server import Server, free_port

DOCS = HERE.parents[1] / "docs" / "mcp.md"
REDIRECT_URI = "http://127.0.0.1:8765/callback"

#: Prints the address to visit, and reads the address of the response; prints what the tool says.
PYTHON_CLIENT = """
import asyncio, json, os, sys
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata


class Memory:
    tokens = client = None
    async def get_tokens(self): return self.tokens
    async def set_tokens(self, tokens): self.tokens = tokens
    async def get_client_info(self): return self.client
    async def set_client_info(self, client): self.client = client


async def visit(url): print(json.dumps({"visit": url}), flush=True)


async def returned():
    line = await asyncio.to_thread(sys.stdin.readline)
    found = {name: values[0] for name, values in parse_qs(urlsplit(line.strip()).query).items()}
    return AuthorizationCodeResult(code=found["code"], state=found.get("state"), iss=found.get("iss"))


async def main():
    memory = Memory()
    metadata = OAuthClientMetadata(redirect_uris=[os.environ["REDIRECT_URI"]], client_name="Python SDK")
    auth = OAuthClientProvider(
        os.environ["MCP_SERVER"], metadata, memory, visit, returned, os.environ.get("CLIENT_ID") or None
    )
    for line in iter(sys.stdin.readline, ""):
        async with httpx2.AsyncClient(auth=auth, timeout=60) as http:
            async with Client(streamable_http_client(os.environ["MCP_SERVER"], http_client=http)) as client:
                result = await client.call_tool("who_am_i", {})
        said = {"said": result.content[0].text, "client_id": memory.client.client_id, "scope": memory.tokens.scope}
        print(json.dumps(said), flush=True)


asyncio.run(main())
"""

#: The same, with version 1 or 2 of the TypeScript SDK.
NODE_CLIENT = """
import { createInterface } from "node:readline";
const v2 = process.env.SDK === "2";
const { Client } = await import(v2 ? "@modelcontextprotocol/client" : "@modelcontextprotocol/sdk/client/index.js");
const { StreamableHTTPClientTransport } = await import(
  v2 ? "@modelcontextprotocol/client" : "@modelcontextprotocol/sdk/client/streamableHttp.js");
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (value) => console.log(JSON.stringify(value));
const kept = {};
const authProvider = {
  redirectUrl: process.env.REDIRECT_URI,
  clientMetadataUrl: process.env.CLIENT_ID || undefined,
  clientMetadata: { client_name: "TypeScript SDK", redirect_uris: [process.env.REDIRECT_URI],
    grant_types: ["authorization_code", "refresh_token"], response_types: ["code"],
    token_endpoint_auth_method: "none", application_type: "native" },
  state: () => "the-state",
  clientInformation: () => kept.client, saveClientInformation: (client) => { kept.client = client; },
  tokens: () => kept.tokens, saveTokens: (tokens) => { kept.tokens = tokens; },
  codeVerifier: () => kept.verifier, saveCodeVerifier: (verifier) => { kept.verifier = verifier; },
  discoveryState: () => kept.discovery, saveDiscoveryState: (state) => { kept.discovery = state; },
  redirectToAuthorization: (url) => say({ visit: url.href }),
};
const transport = () => new StreamableHTTPClientTransport(new URL(process.env.MCP_SERVER), { authProvider });
const call = async () => {
  const client = new Client({ name: "test", version: "1" });
  await client.connect(kept.transport = transport());
  const result = await client.callTool({ name: "who_am_i", arguments: {} });
  await client.close();
  return result.content[0].text;
};
for (let line; !(line = await lines.next()).done; ) {
  let said;
  try {
    said = await call();
  } catch (error) {
    if (error.constructor.name !== "UnauthorizedError") throw error;
    const response = new URL((await lines.next()).value).searchParams;
    await kept.transport.finishAuth(v2 ? response : response.get("code"));
    said = await call();
  }
  say({ said, client_id: kept.client.client_id, scope: kept.tokens.scope });
}
"""

#: In place of `server.run`. Its challenges name the scopes too, as the specification advises; the SDK's own do not.
WITH_SCOPES = """
import uvicorn
app = server.streamable_http_app()

async def main(scope, receive, send):
    async def answer(message):
        for number, (name, value) in enumerate(message.get("headers", ())):
            if name == b"www-authenticate":
                message["headers"][number] = (name, value + b', scope="' + " ".join(SCOPES).encode() + b'"')
        await send(message)
    await app(scope, receive, answer)

uvicorn.run(main, port=int(os.environ["PORT"]))
"""

KINDS = ["python", "typescript 1", "typescript 2"]


def run_python(folder: Path, code: str, **environment: str) -> Any:
    need(MCP)
    (folder / "main.py").write_text(code)
    return program(sys.executable, "main.py", cwd=folder, PYTHONPATH=str(MCP), PYTHONUNBUFFERED="1", **environment)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def idp(db: str, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server that accepts documents of this machine, by https as the SDKs ask."""
    server = Server(
        tmp_path_factory.mktemp("idp"),
        IDP_DATABASE_URL=db,
        IDP_MASTER_KEY=MASTER_KEY,
        IDP_ADDRESS_LIMITS="false",
        IDP_CLIENT_ID_METADATA_DOCUMENTS="allow-list",
        IDP_CLIENT_ID_METADATA_HOSTS="localhost",
        IDP_OUTBOUND_CA_FILE=str(authority.file),
        IDP_CLIENT_REGISTRATION="open",
    )
    yield server
    server.stop()


@pytest.fixture
async def document(authority: Authority) -> AsyncIterator[str]:
    """The URL of the document of a client."""
    path, body = f"/{secrets.token_hex(8)}.json", bytearray()
    async with serving() as serve:
        port = await serve(lambda head, writer: answer(bytes(body), "Content-Type: application/json")(head, writer),
                           authority.context("localhost"))  # fmt: skip
        url = f"https://localhost:{port}{path}"
        body += json.dumps(
            {
                "client_id": url,
                "client_name": "An SDK",
                "redirect_uris": ["http://127.0.0.1/callback"],
                "grant_types": ["authorization_code", "refresh_token"],
                "token_endpoint_auth_method": "none",
            }
        ).encode()
        yield url


@asynccontextmanager
async def mcp_server(
    folder: Path, issuer: str, port: int, scopes: str, *, names_scopes: bool = False
) -> AsyncIterator[None]:
    """The server of docs/mcp.md."""
    folder.mkdir(exist_ok=True)
    code = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)[0]
    if names_scopes:
        code = code.partition("if __name__")[0] + WITH_SCOPES
    resource = f"http://127.0.0.1:{port}/mcp"
    environment = {"ISSUER": issuer, "RESOURCE": resource, "SCOPES": scopes, "PORT": str(port)}
    async with run_python(folder, code, **environment), httpx.AsyncClient() as http, asyncio.timeout(60):
        while True:
            try:
                response = await http.post(resource, json={})
                break
            except httpx.TransportError:
                await asyncio.sleep(0.05)
        assert response.status_code == 401
        yield


async def _call(client: Program, browser: Browser, alice: User) -> dict[str, Any]:
    """Let the client call the tool, and visit whatever address it asks for."""
    found = await client.ask("call")
    visited = 0
    while "visit" in found:
        visited += 1
        found = await client.ask(await sign_in(browser, found["visit"], alice.email))
    return {**found, "visited": visited}


@pytest.fixture
async def scope(idp: Server, http: httpx.AsyncClient) -> AsyncIterator[tuple[int, str]]:
    """The port of an MCP server, and the prefix of its scopes."""
    need(MCP)
    port, name = free_port(), f"n{secrets.token_hex(4)}"
    resource = f"http://127.0.0.1:{port}/mcp"
    server = await register_resource_server(
        resource, "Notes", scope=f"{name}:read {name}:write", self_registered_clients=True
    )
    async with asyncio.timeout(30):
        while (await http.get(f"{idp.issuer}/jwks/{server.jwks_id}")).status_code != 200:
            await asyncio.sleep(0.02)
    yield port, name
    await delete_resource_server(resource)


@pytest.mark.parametrize("how", ["document", "registration"])
@pytest.mark.parametrize("kind", KINDS)
async def test_from_a_url_to_a_tool_call(
    idp: Server, document: str, scope: tuple[int, str], alice: User, tmp_path: Path, kind: str, how: str
) -> None:
    """The client introduces itself by a document, or registers itself. What needs more scopes needs another consent."""
    port, name = scope
    environment = {"MCP_SERVER": f"http://127.0.0.1:{port}/mcp", "REDIRECT_URI": REDIRECT_URI}
    environment["CLIENT_ID"] = document if how == "document" else ""
    run = run_python if kind == "python" else run_node
    code = PYTHON_CLIENT if kind == "python" else NODE_CLIENT
    async with open_browser(idp.issuer) as browser, run(tmp_path, code, SDK=kind[-1], **environment) as client:
        async with mcp_server(tmp_path / "one", idp.issuer, port, f"{name}:read"):
            said = await _call(client, browser, alice)
            assert (said["said"], said["visited"]) == (str(alice.id), 1)
            assert (said["client_id"] == document) == (how == "document")
            assert set(said["scope"].split()) - {"offline_access"} == {f"{name}:read"}
            assert (await _call(client, browser, alice))["visited"] == 0
        # Asked for more scopes, version 1 refreshes its token instead.
        if kind != "typescript 1":
            scopes = f"{name}:read {name}:write"
            async with mcp_server(tmp_path / "two", idp.issuer, port, scopes, names_scopes=True):
                said = await _call(client, browser, alice)
                assert (said["said"], said["visited"]) == (str(alice.id), 1)
                assert set(said["scope"].split()) - {"offline_access"} == set(scopes.split())
    await delete_client(said["client_id"])


def run_node(folder: Path, code: str, **environment: str) -> Any:
    need(NODE / "@modelcontextprotocol", "node")
    (folder / "node_modules").symlink_to(NODE)
    (folder / "main.mjs").write_text(code)
    return program("node", "main.mjs", cwd=folder, **environment)
