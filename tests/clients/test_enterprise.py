"""Enterprise-managed authorization of MCP, with the SDKs of others, between two servers of ours.

A person signs in once at the identity provider. The client gets an identity assertion, an access token of the other
server for it, and calls a tool of the MCP server of docs/mcp.md. Nobody sees a page of the other server.
"""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import MCP, NODE, need
from tests.clients.test_mcp import DOCS, mcp_server, run_node, run_python
from tests.conftest import MakeClient, MakeUser
from tests.oauth.token.test_id_jag import GRANTS
from tests.support.browser import Browser
from tests.support.enterprise import Enterprise, enterprise
from tests.support.postgres import Cluster
from tests.support.server import free_port

#: After the script of docs/mcp.md.
PYTHON_CLIENT = """
import asyncio, json, sys
from mcp import Client
from mcp.client.streamable_http import streamable_http_client


class Memory:
    tokens = None
    async def get_tokens(self): return self.tokens
    async def set_tokens(self, tokens): self.tokens = tokens


async def main():
    sys.stdin.readline()
    memory = Memory()
    async with httpx2.AsyncClient(auth=provider(memory), timeout=60) as http:
        async with Client(streamable_http_client(os.environ["MCP_SERVER"], http_client=http)) as client:
            result = await client.call_tool("who_am_i", {})
    print(json.dumps({"said": result.content[0].text, "scope": memory.tokens.scope}), flush=True)


asyncio.run(main())
"""

NODE_CLIENT = """
import { createInterface } from "node:readline";
import {
  Client, CrossAppAccessProvider, StreamableHTTPClientTransport, discoverAndRequestJwtAuthGrant,
} from "@modelcontextprotocol/client";
const { env } = process;
const authProvider = new CrossAppAccessProvider({
  clientId: env.CLIENT_ID_THERE, clientSecret: env.CLIENT_SECRET_THERE, expectedIssuer: env.AUTHORIZATION_SERVER,
  assertion: async ({ authorizationServerUrl, resourceUrl, scope, fetchFn }) => (await discoverAndRequestJwtAuthGrant({
    idpUrl: env.IDENTITY_PROVIDER, audience: authorizationServerUrl, resource: resourceUrl, idToken: env.ID_TOKEN,
    clientId: env.CLIENT_ID, clientSecret: env.CLIENT_SECRET, scope, fetchFn,
  })).jwtAuthGrant,
});
for await (const _ of createInterface({ input: process.stdin })) {
  const client = new Client({ name: "test", version: "1" });
  await client.connect(new StreamableHTTPClientTransport(new URL(env.MCP_SERVER), { authProvider }));
  const result = await client.callTool({ name: "who_am_i", arguments: {} });
  console.log(JSON.stringify({ said: result.content[0].text, scope: authProvider.tokens().scope }));
  await client.close();
}
"""


def _environment(two: Enterprise, id_token: str) -> dict[str, str]:
    return {
        "IDENTITY_PROVIDER": two.here.issuer,
        "CLIENT_ID": two.here.client_id,
        "CLIENT_SECRET": str(two.here.client_secret),
        "ID_TOKEN": id_token,
        "AUTHORIZATION_SERVER": two.there.issuer,
        "CLIENT_ID_THERE": two.there.client_id,
        "CLIENT_SECRET_THERE": str(two.there.client_secret),
        "MCP_SERVER": two.resource,
    }


@pytest.mark.parametrize("kind", ["python", "typescript 2"])
async def test_from_one_sign_in_to_a_tool_call(
    kind: str,
    make_client: MakeClient,
    make_user: MakeUser,
    browser: Browser,
    cluster: Cluster,
    template: str,
    tmp_path: Path,
) -> None:
    need(MCP)
    if kind != "python":
        need(NODE / "@modelcontextprotocol", "node")
    user, port = await make_user(email_verified=True), free_port()
    # The Python SDK authenticates in the body, unless it is told otherwise.
    here = await make_client(client_name="Agent", grant_types=GRANTS, token_endpoint_auth_method="client_secret_post")
    resource = f"http://127.0.0.1:{port}/mcp"
    dsn = await cluster.create_database(template)
    async with enterprise(here, user, dsn, tmp_path / "there", resource=resource) as two:
        id_token = (await here.tokens(browser, user.email))["id_token"]
        async with asyncio.timeout(30):
            while (await two.exchange(id_token)).status_code != 200:
                await asyncio.sleep(0.02)
        async with (
            mcp_server(tmp_path / "mcp", two.there.issuer, port, "notes:read"),
            _client(kind, tmp_path, _environment(two, id_token)) as client,
        ):
            said = await client.ask("call")
    assert said["said"] == str(two.person.id)
    assert "notes:read" in said["scope"].split()


def _client(kind: str, folder: Path, environment: dict[str, str]) -> Any:
    if kind != "python":
        return run_node(folder, NODE_CLIENT, **environment)
    (script,) = [
        code for code in re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL) if "Assertion" in code
    ]
    return run_python(folder, script + PYTHON_CLIENT, **environment)
