"""Row 52: no origin but a registered client's is ever allowed credentials, least of all an opaque one."""

import httpx
import pytest

from tests.conftest import MakeClient
from tests.support.oauth import REDIRECT_URI
from tests.support.server import Server

OWN = "https://app.example.com"
FOREIGN = [
    "null",
    "https://evil.example.com",
    "http://app.example.com",
    f"{OWN}.evil.example",
    f"{OWN}:444",
    "https://xapp.example.com",
    "https://APP.example.com",
    f"{OWN}/",
    "*",
    "",
]
PATHS = ["/token", "/revoke", "/introspect", "/userinfo", "/login", "/authorize", "/.well-known/openid-configuration"]


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["OPTIONS", "POST", "GET"])
async def test_52_foreign_origins(
    server: Server, http: httpx.AsyncClient, make_client: MakeClient, origin: str, path: str, method: str
) -> None:
    headers = {"Origin": origin} | ({"Access-Control-Request-Method": "POST"} if method == "OPTIONS" else {})
    response = await http.request(method, f"{server.issuer}{path}", headers=headers)
    assert "access-control-allow-credentials" not in response.headers
    assert response.headers.get("access-control-allow-origin") in (None, "*")


async def test_52_a_clients_own_page(server: Server, http: httpx.AsyncClient, make_client: MakeClient) -> None:
    await make_client(redirect_uris=[REDIRECT_URI])
    for path in ("/token", "/revoke"):
        preflight = await http.options(
            f"{server.issuer}{path}", headers={"Origin": OWN, "Access-Control-Request-Method": "POST"}
        )
        refusal = await http.post(f"{server.issuer}{path}", headers={"Origin": OWN}, data={"x": "y"})
        for response in (preflight, refusal):
            assert response.headers["access-control-allow-origin"] == OWN
            assert response.headers["access-control-allow-credentials"] == "true"
            assert "Origin" in response.headers["vary"]
    assert preflight.status_code == 204


async def test_52_a_native_client_brings_no_origin(
    server: Server, http: httpx.AsyncClient, make_client: MakeClient
) -> None:
    await make_client(
        application_type="native", token_endpoint_auth_method="none", redirect_uris=["http://127.0.0.1:49152/cb"]
    )
    response = await http.post(f"{server.issuer}/token", headers={"Origin": "http://127.0.0.1:49152"})
    assert "access-control-allow-origin" not in response.headers
