"""Clients without a secret that is sent: the console's snippets get a token."""

import asyncio
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from idp.keys import jose
from idp.oauth.clients.models import Client
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.service import delete_client
from idp.oauth.clients.workloads import registration as workloads
from tests.clients.conftest import node, of_client
from tests.support.assertions import form
from tests.support.certificates import certificate, headers
from tests.support.issuers import SERVICE_ACCOUNT, TrustedIssuer
from tests.support.oauth import RelyingParty
from tests.support.server import Server

pytestmark = pytest.mark.usefixtures("accepts_certificates")

MAIN = """
for (let tries = 0; ; tries++) {
  try {
    const { tokens } = await import(`./client.mjs?${tries}`);
    console.log(JSON.stringify(tokens));
    break;
  } catch (error) {
    // The server does not know the client yet.
    if (error.error !== "invalid_client" || tries > 200) throw error;
    await new Promise((done) => setTimeout(done, 50));
  }
}
"""


async def _register(method: str, **metadata: Any) -> tuple[Client, str | None]:
    values = {"client_name": "Service", "grant_types": ["client_credentials"], "scope": "jobs:read"}
    return await register_client(**(values | {"token_endpoint_auth_method": method} | metadata))


def _party(server: Server, http: httpx.AsyncClient, client: Client, secret: str | None = None) -> RelyingParty:
    return RelyingParty(server.issuer, http, client.client_id, secret, scope=client.scope)


@pytest.mark.parametrize("alg", ["ES256", "RS256", "HS256"])
async def test_openid_client(server: Server, http: httpx.AsyncClient, tmp_path: Path, alg: str) -> None:
    if alg == "HS256":
        client, secret = await _register("client_secret_jwt")
    else:
        key = jose.generate(alg)
        (tmp_path / "private-key.json").write_text(json.dumps(jose.to_private_jwk(key) | {"key_ops": ["sign"]}))
        metadata = {"jwks": {"keys": [key.public_jwk]}, "token_endpoint_auth_signing_alg": alg}
        client, secret = await _register("private_key_jwt", **metadata)
    snippets = await of_client(_party(server, http, client, secret))
    async with node(tmp_path, main=MAIN, client=snippets["Node: openid-client"]) as service:
        assert json.loads(await service.read())["scope"] == "jobs:read"


def _read(snippet: str) -> tuple[str, dict[str, str], dict[str, str]]:
    """Return the URL, the parameters and the other options of curl, as curl reads them."""
    program, url, *rest = shlex.split(snippet.replace("\\\n", " "))
    assert program == "curl"
    options = list(zip(rest[::2], rest[1::2], strict=True))
    parameters = dict(value.split("=", 1) for name, value in options if name == "-d")
    return url, parameters, {name: value for name, value in options if name != "-d"}


async def test_curl_with_a_certificate(start_server: Callable[..., Server], http: httpx.AsyncClient) -> None:
    server = await asyncio.to_thread(
        start_server, IDP_TRUSTED_PROXIES="127.0.0.0/8,::1/128", IDP_CLIENT_CERTIFICATE_HEADER="nginx"
    )
    client, _ = await _register("tls_client_auth", tls_client_auth_san_uri="spiffe://bank.example/client")
    snippets = await of_client(_party(server, http, client))
    url, parameters, options = _read(snippets["curl"])
    assert options == {"--cert": "client.pem", "--key": "client.key"}
    async with asyncio.timeout(30):
        presented = headers(certificate(), "nginx")
        while (answer := await http.post(url, data=parameters, headers=presented)).status_code == 401:
            await asyncio.sleep(0.05)
    assert answer.json()["scope"] == "jobs:read"


async def test_curl_with_a_token_of_the_platform(server: Server, http: httpx.AsyncClient) -> None:
    issuer = TrustedIssuer()
    client, _ = await _register("workload_identity")
    await workloads.add(
        client.client_id, issuer=issuer.issuer, subject=SERVICE_ACCOUNT, audience=server.issuer, single_use=False
    )
    url, parameters, options = _read((await of_client(_party(server, http, client)))["curl"])
    assert options == {"--data-urlencode": "client_assertion@/var/run/secrets/idp/token"}
    sent = parameters | form(issuer.kubernetes(server.issuer))
    try:
        async with asyncio.timeout(30):
            # Until the server knows the client and its issuer. Of an unknown issuer, `sub` is another client: 400.
            while (answer := await http.post(url, data=sent)).status_code in (400, 401):
                await asyncio.sleep(0.05)
        assert answer.json()["scope"] == "jobs:read"
    finally:
        issuer.stop()
        await delete_client(client.client_id)
