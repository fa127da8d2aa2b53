import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
from cryptography import x509

from idp.accounts.tables import User
from idp.dev.seed import CLAIMS
from idp.keys.key_set import key_set
from idp.oauth.clients.registration import register_client
from tests.conftest import MASTER_KEY, MakeClient, MakeUser, until_known
from tests.support.assertions import ClientKeys
from tests.support.browser import Browser, open_browser
from tests.support.certificates import certificate
from tests.support.dpop import DPoPKey
from tests.support.fapi import FapiClient
from tests.support.mailbox import Mailbox
from tests.support.oauth import REDIRECT_URI, RelyingParty
from tests.support.request_objects import jwks
from tests.support.server import Server

ALL_SCOPES = "openid profile email address phone offline_access"


@pytest.fixture
async def person(make_user: MakeUser) -> User:
    """A user with every standard claim."""
    claims: dict[str, Any] = dict(CLAIMS)
    return await make_user(**claims)


@pytest.fixture
async def rp(make_client: MakeClient) -> RelyingParty:
    """A client as the plans register it: confidential, without PKCE, with links and a logo."""
    return await make_client(
        client_name="Conformance client",
        scope=ALL_SCOPES,
        require_pkce=False,
        logo_uri="https://rp.example.com/images/openid.png",
        policy_uri="https://rp.example.com/policy",
        tos_uri="https://rp.example.com/tos",
        client_uri="https://rp.example.com/",
        post_logout_redirect_uris=["https://app.example.com/signed-out"],
    )


#: How clients of FAPI 2.0 authenticate, and what their tokens are bound to, as the plans name it.
VARIANTS = ("private_key_jwt dpop", "private_key_jwt mtls", "mtls dpop", "mtls mtls")
MakeFapi = Callable[..., Awaitable[FapiClient]]


@pytest.fixture(scope="session")
def fapi_server(db: str, mailbox: Mailbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server behind a proxy that verifies the certificates of clients.

    It has the mailbox, because it sends mails that later tests of the session cause at the shared server.
    """
    server = Server(
        tmp_path_factory.mktemp("fapi"),
        IDP_DATABASE_URL=db,
        IDP_MASTER_KEY=MASTER_KEY,
        IDP_SMTP_URL=mailbox.url,
        IDP_ADDRESS_LIMITS="false",
        IDP_TRUSTED_PROXIES="127.0.0.0/8,::1/128",
        IDP_CLIENT_CERTIFICATE_HEADER="rfc9440",
        IDP_CLIENT_CERTIFICATES_VERIFIED="true",
        IDP_AUTHORIZATION_CODE_LIFETIME="300",
        IDP_CIBA="true",
    )
    yield server
    server.stop()


@pytest.fixture
def make_fapi(fapi_server: Server, http: httpx.AsyncClient) -> MakeFapi:
    """Register clients of FAPI 2.0, by default as the plan for private_key_jwt and DPoP does. Their users need not
    consent, which is tested elsewhere.
    """

    async def make(
        variant: str = VARIANTS[0], *, signs: str | None = None, keys: ClientKeys | None = None, **metadata: Any
    ) -> FapiClient:
        authentication, binding = variant.split()
        keys, name = keys or ClientKeys(), f"spiffe://{secrets.token_hex(8)}"
        one = certificate(names=[x509.UniformResourceIdentifier(name)])
        values: dict[str, Any] = {
            "client_name": "Bank",
            "profile": "fapi2" if signs is None else "fapi2-message-signing",
            "redirect_uris": [REDIRECT_URI],
            "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
            "scope": ALL_SCOPES,
            "skip_consent": True,
            "jwks": {"keys": keys.jwks("alg")["keys"] + (jwks(signs)["keys"] if signs else [])},
        }
        if authentication == "mtls":
            values |= {"token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_uri": name}
        values |= {f"{'dpop' if binding == 'dpop' else 'tls_client_certificate'}_bound_access_tokens": True}
        client, _ = await register_client(**(values | metadata))
        # A key for the algorithms of the profile may be new.
        await key_set.load()
        party = FapiClient(
            fapi_server.issuer,
            http,
            client.client_id,
            scope="openid",
            keys=keys,
            certificate=one if "mtls" in (authentication, binding) else None,
            asserts=authentication != "mtls",
            dpop=DPoPKey() if binding == "dpop" else None,
            signs=signs,
        )
        await until_known(party)
        return party

    return make


@pytest.fixture
async def fapi(make_fapi: MakeFapi) -> FapiClient:
    """A client of the plan for private_key_jwt and DPoP."""
    return await make_fapi()


@pytest.fixture
async def fapi_browser(fapi_server: Server) -> AsyncIterator[Browser]:
    """A fresh browser at that server."""
    async with open_browser(fapi_server.issuer) as browser:
        yield browser
