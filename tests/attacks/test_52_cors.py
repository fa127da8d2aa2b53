"""Row 52: only origins of registered clients are allowed credentials, never an opaque one."""

import asyncio
import secrets

import httpx
import pytest

from idp.oauth.clients.registration import disable_client, register_client
from tests.conftest import MakeClient, until_known
from tests.support.oauth import RelyingParty
from tests.support.routes import Route, routes
from tests.support.server import TLS, Server

OWN = "https://cors.example.com"
#: Origins that are not a client's, though a careless comparison may accept them.
FOREIGN = (
    "null", "", "*", "https://foreign.example", f"{OWN}.foreign.example", f"{OWN}foreign.example", "https://xcors.example.com",
    "https://foreign.example/cors.example.com", "https://cors.example.com@foreign.example", "https://cors.example.co",
    "https://example.com", "https://sub.cors.example.com", "http://cors.example.com", f"{OWN}:444", f"{OWN}:80",
    f"{OWN}/", f"{OWN}/callback", "https://CORS.example.com", "HTTPS://cors.example.com", f"{OWN}, {OWN}",
    f"{OWN} https://foreign.example", f"https://foreign.example,{OWN}", "cors.example.com", "//cors.example.com",
    "https://cors%2eexample.com", f"{OWN}.", "https://cors.example.com\\.foreign.example", "https://corsaexample.com",
    "file://", "data:", "moz-extension://x", "http://localhost:9", "http://127.0.0.1:9",
)  # fmt: skip
DOCUMENTS = {
    "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/.well-known/jwks.json",
    "/jwks/{jwks_id:str}", "/.well-known/revoked-access-tokens",
}  # fmt: skip
REGISTRATION = {"/register", "/register/{client_id:str}"}
#: Called with an access token, or public: from any origin, but with cookies from pages of clients only.
OPEN = {"/userinfo"} | REGISTRATION | DOCUMENTS
#: Every endpoint that a library calls when it is told to send the cookie of the refresh token (fault 37).
WITH_CREDENTIALS = {"/token", "/revoke"} | OPEN
#: Called by pages of clients too, but without cookies.
WITHOUT_CREDENTIALS = {"/challenge", "/challenge/forgot", "/challenge/reset", "/device_authorization", "/par"}


@pytest.fixture(scope="module")
async def registered(db: str, server: Server) -> tuple[str, str | None]:
    """A client with an origin that the client of no other file has, which the server knows, and its secret."""
    client, secret = await register_client(client_name="Test client", redirect_uris=[f"{OWN}/callback"], scope="openid")
    async with httpx.AsyncClient(verify=TLS) as http:
        await until_known(RelyingParty(server.issuer, http, client.client_id, secret))
    return client.client_id, secret


@pytest.fixture
def client(server: Server, http: httpx.AsyncClient, registered: tuple[str, str | None]) -> RelyingParty:
    """Return that client, without the cookies of the previous test."""
    return RelyingParty(server.issuer, http, *registered)


async def ask(client: httpx.AsyncClient, url: str, method: str, origin: str | None) -> list[httpx.Response]:
    """Send the request, and its preflight."""
    headers = {} if origin is None else {"Origin": origin}
    preflight = headers | {
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization, content-type, x-evil",
        "Access-Control-Request-Private-Network": "true",
    }
    return [await client.request(method, url, headers=headers), await client.options(url, headers=preflight)]


@pytest.mark.parametrize("route", [route for route in routes() if route.method != "OPTIONS"], ids=str)
async def test_52_other_origins(server: Server, client: RelyingParty, route: Route) -> None:
    """On no route. The origin of the registered client is allowed where required."""
    compared = route.path in WITH_CREDENTIALS | WITHOUT_CREDENTIALS
    for origin in FOREIGN if compared else FOREIGN[:5]:
        for response in await ask(client.http, f"{server.issuer}{route.url()}", route.method, origin):
            allowed = "*" if route.path in OPEN else None
            assert response.headers.get("access-control-allow-origin") == allowed, origin
            assert "access-control-allow-credentials" not in response.headers
            assert "access-control-allow-private-network" not in response.headers


@pytest.mark.fault(37)
@pytest.mark.parametrize("route", [route for route in routes() if route.method != "OPTIONS"], ids=str)
async def test_52_a_clients_own_page(server: Server, client: RelyingParty, route: Route) -> None:
    """Exactly at the endpoints that a library calls, with or without the cookie of its refresh token; never at our
    pages.
    """
    credentials = {"access-control-allow-origin": OWN, "access-control-allow-credentials": "true"}
    for response in await ask(client.http, f"{server.issuer}{route.url()}", route.method, OWN):
        found = {name: value for name, value in response.headers.items() if name in credentials}
        if route.path in WITH_CREDENTIALS:
            assert found == credentials
        elif route.path in WITHOUT_CREDENTIALS:
            assert found == {"access-control-allow-origin": OWN}
        else:
            assert found == ({"access-control-allow-origin": "*"} if route.path in OPEN else {})


@pytest.mark.parametrize("path", sorted(WITH_CREDENTIALS - DOCUMENTS - REGISTRATION))
async def test_52_the_preflight(server: Server, client: RelyingParty, path: str) -> None:
    """A client's page may send only the headers and methods that the endpoints read."""
    _, preflight = await ask(client.http, f"{server.issuer}{path}", "POST", OWN)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-methods"] == {"/userinfo": "GET, POST"}.get(path, "POST")
    assert preflight.headers["access-control-allow-headers"] == "Authorization, Content-Type, DPoP"
    assert preflight.content == b""


@pytest.mark.parametrize("path", sorted(path for path in WITH_CREDENTIALS if "{" not in path))
@pytest.mark.parametrize("origin", [OWN, "https://foreign.example", None])
async def test_52_caches_keep_origins_apart(
    server: Server, client: RelyingParty, path: str, origin: str | None
) -> None:
    """Else one origin would be served the permission of another."""
    for method in ("GET", "POST"):
        for response in await ask(client.http, f"{server.issuer}{path}", method, origin):
            assert response.headers["vary"] == "Origin"


async def test_52_a_path_spelled_otherwise(server: Server, client: RelyingParty) -> None:
    for path in ("/token/", "//token", "/Token", "/token/x", "/%74oken/", "/revoke/"):
        for response in await ask(client.http, f"{server.issuer}{path}", "POST", "https://foreign.example"):
            assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("uri", ["http://127.0.0.1:49152/cb", "http://[::1]/cb", "com.example.app:/cb"])
async def test_52_a_native_client_brings_no_origin(server: Server, make_client: MakeClient, uri: str) -> None:
    """Another program may listen on that port later."""
    client = await make_client(application_type="native", token_endpoint_auth_method="none", redirect_uris=[uri])
    for origin in (uri.removesuffix("/cb"), "com.example.app://", "null"):
        for response in await ask(client.http, f"{server.issuer}/token", "POST", origin):
            assert "access-control-allow-origin" not in response.headers


async def test_52_a_disabled_client_brings_none(server: Server, make_client: MakeClient) -> None:
    origin = f"https://{secrets.token_hex(8)}.example.com"
    client = await make_client(redirect_uris=[f"{origin}/cb"])

    async def allowed() -> bool:
        response, _ = await ask(client.http, f"{server.issuer}/token", "POST", origin)
        return "access-control-allow-origin" in response.headers

    assert await allowed()
    await disable_client(client.client_id)
    async with asyncio.timeout(30):
        while await allowed():
            await asyncio.sleep(0.02)
