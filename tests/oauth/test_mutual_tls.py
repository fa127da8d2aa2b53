"""Mutual TLS behind a proxy (RFC 8705): client authentication, and access tokens that are bound to a certificate."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from idp.accounts.tables import User
from idp.admin.roles import Role
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.service import set_admin_role
from tests.conftest import MakeClient
from tests.support.browser import open_browser
from tests.support.certificates import certificate, headers
from tests.support.oauth import RelyingParty
from tests.support.server import Server
from tests.support.tokens import claims_of

pytestmark = pytest.mark.usefixtures("accepts_certificates")

ONE, OTHER = certificate(), certificate()
SAN = {"tls_client_auth_san_uri": "spiffe://bank.example/client"}
BEHIND_NGINX = {
    "IDP_TRUSTED_PROXIES": "127.0.0.0/8,::1/128",
    "IDP_CLIENT_CERTIFICATE_HEADER": "nginx",
    "IDP_MTLS_URL": "https://mtls.id.example",
}


def presenting(one: Any) -> dict[str, str]:
    return headers(one, "nginx")


async def register(**metadata: Any) -> str:
    values = {"client_name": "Bank", "grant_types": ["client_credentials"], "scope": "admin:clients:read"}
    method = {"token_endpoint_auth_method": "tls_client_auth"} | SAN
    client, _ = await register_client(**(values | method | metadata))
    return client.client_id


class Service:
    """A client that authenticates by its certificate."""

    def __init__(self, http: httpx.AsyncClient, issuer: str, client_id: str) -> None:
        self.http, self.issuer, self.client_id = http, issuer, client_id

    async def post(self, path: str, one: Any = ONE, **form: str) -> httpx.Response:
        sent = presenting(one) if one is not None else {}
        return await self.http.post(f"{self.issuer}{path}", data={"client_id": self.client_id} | form, headers=sent)

    async def token(self, one: Any = ONE) -> httpx.Response:
        resource = f"{self.issuer}/admin/api"
        return await self.post("/token", one, grant_type="client_credentials", resource=resource)

    async def until_known(self) -> None:
        async with asyncio.timeout(30):
            while (await self.token()).status_code == 401:
                await asyncio.sleep(0.02)

    async def clients(self, token: str, one: Any = None) -> httpx.Response:
        sent = presenting(one) if one is not None else {}
        url = f"{self.issuer}/admin/api/v1/clients"
        return await self.http.get(url, headers={"Authorization": f"Bearer {token}"} | sent)


async def test_a_bound_token_needs_its_certificate(
    start_server: Callable[..., Server], http: httpx.AsyncClient, db: str
) -> None:
    server = await asyncio.to_thread(start_server, **BEHIND_NGINX)
    service = Service(http, server.issuer, await register(tls_client_certificate_bound_access_tokens=True))
    await set_admin_role(service.client_id, Role.OWNER)
    await service.until_known()
    answer = (await service.token()).json()
    token = answer["access_token"]
    thumbprint = claims_of(token)["cnf"]
    assert (answer["token_type"], list(thumbprint)) == ("Bearer", ["x5t#S256"])
    assert (await service.post("/introspect", token=token)).json()["cnf"] == thumbprint
    async with asyncio.timeout(30):
        while (await service.clients(token, ONE)).status_code != 200:
            await asyncio.sleep(0.02)
    for one in (None, OTHER):
        refused = await service.clients(token, one)
        assert refused.status_code == 401
        assert 'error="invalid_token"' in refused.headers["www-authenticate"]
    for one in (None, certificate(names=())):
        assert (await service.token(one)).json()["error"] == "invalid_client"


async def test_a_public_client_binds_its_tokens(
    start_server: Callable[..., Server], make_client: MakeClient, alice: User
) -> None:
    """Its refresh tokens too. A client that must bind its tokens gets none without a certificate."""
    server = await asyncio.to_thread(start_server, **BEHIND_NGINX)
    party = await make_client(
        server,
        token_endpoint_auth_method="none",
        tls_client_certificate_bound_access_tokens=True,
        skip_consent=True,
    )
    async with open_browser(server.issuer) as browser:
        code = await party.sign_in(browser, alice.email)
        refused = await party.redeem(code)
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")
        tokens = (await party.redeem(code, presenting(ONE))).json()
    for one, status in ((None, 401), (OTHER, 401), (ONE, 200)):
        assert (await _userinfo(party, tokens["access_token"], one)).status_code == status
    for one, error in ((None, "invalid_request"), (OTHER, "invalid_grant")):
        sent = presenting(one) if one is not None else None
        assert (await party.refresh(tokens["refresh_token"], sent)).json()["error"] == error
    refreshed = (await party.refresh(tokens["refresh_token"], presenting(ONE))).json()
    assert claims_of(refreshed["access_token"])["cnf"] == claims_of(tokens["access_token"])["cnf"]


async def _userinfo(party: RelyingParty, token: str, one: Any) -> httpx.Response:
    sent = presenting(one) if one is not None else {}
    return await party.http.get(f"{party.issuer}/userinfo", headers={"Authorization": f"Bearer {token}"} | sent)


async def test_discovery_says_what_is_on(start_server: Callable[..., Server], http: httpx.AsyncClient) -> None:
    nginx = await asyncio.to_thread(start_server, **BEHIND_NGINX)
    verifying = await asyncio.to_thread(
        start_server, IDP_CLIENT_CERTIFICATE_HEADER="rfc9440", IDP_CLIENT_CERTIFICATES_VERIFIED="true"
    )
    passing = await asyncio.to_thread(start_server, IDP_CLIENT_CERTIFICATE_HEADER="envoy")
    expected = {
        nginx: {"tls_client_auth", "self_signed_tls_client_auth"},
        verifying: {"tls_client_auth"},
        passing: {"self_signed_tls_client_auth"},
    }
    for server, methods in expected.items():
        metadata = (await http.get(f"{server.issuer}/.well-known/openid-configuration")).json()
        for endpoint in ("token", "introspection", "revocation"):
            named = metadata[f"{endpoint}_endpoint_auth_methods_supported"]
            assert {method for method in named if "tls" in method} == methods
        assert metadata["tls_client_certificate_bound_access_tokens"] is True
        aliases = metadata.get("mtls_endpoint_aliases")
        # All but those that a browser opens.
        endpoints = {name for name in metadata if name.endswith("_endpoint")}
        called = endpoints - {"authorization_endpoint", "end_session_endpoint"}
        assert set(aliases or ()) == (called if server is nginx else set())
        for name, url in (aliases or {}).items():
            assert url == metadata[name].replace(server.issuer, "https://mtls.id.example")


async def test_without_the_setting_no_certificate_counts(server: Server, http: httpx.AsyncClient) -> None:
    metadata = (await http.get(f"{server.issuer}/.well-known/openid-configuration")).json()
    assert not [name for name in metadata if "tls" in name]
    assert not [method for method in metadata["token_endpoint_auth_methods_supported"] if "tls" in method]
    service = Service(http, server.issuer, await register())
    for form in ("rfc9440", "nginx", "envoy", "traefik"):
        response = await http.post(
            f"{server.issuer}/token",
            data={"client_id": service.client_id, "grant_type": "client_credentials"},
            headers=headers(ONE, form),
        )
        assert (response.status_code, response.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize("proxies", ["", "192.0.2.0/24"])
async def test_a_certificate_from_no_trusted_proxy_is_ignored(
    start_server: Callable[..., Server], http: httpx.AsyncClient, proxies: str
) -> None:
    server = await asyncio.to_thread(start_server, **(BEHIND_NGINX | {"IDP_TRUSTED_PROXIES": proxies}))
    service = Service(http, server.issuer, await register())
    party, secret = await register_client(
        client_name="Service",
        grant_types=["client_credentials"],
        scope="",
        token_endpoint_auth_method="client_secret_post",
    )
    async with asyncio.timeout(30):
        # Registered after the other one, so the server knows both.
        form = {"client_id": party.client_id, "client_secret": str(secret), "grant_type": "client_credentials"}
        while (await http.post(f"{server.issuer}/token", data=form)).status_code != 200:
            await asyncio.sleep(0.02)
    assert (await service.token()).json()["error"] == "invalid_client"
