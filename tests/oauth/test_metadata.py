"""The discovery documents and the JWKS over HTTP."""

from collections.abc import AsyncIterator

import httpx
import pytest

from idp.infra import i18n
from idp.keys import jose, lifecycle
from idp.keys.key_set import KeySet
from idp.oauth import metadata
from idp.oauth.device.codes import GRANT_TYPE as DEVICE_GRANT
from idp.oauth.scopes import CLAIMS, STANDARD_SCOPES, describe
from idp.oauth.token import jwt_bearer, token_exchange
from idp.settings import settings
from tests.support.isolated import MoveClock, isolated
from tests.support.postgres import Cluster
from tests.support.routes import router

DISCOVERY = "/.well-known/openid-configuration"
AUTHORIZATION_SERVER = "/.well-known/oauth-authorization-server"
JWKS = "/.well-known/jwks.json"
CLIENT = "https://client.example"
PATHS = [DISCOVERY, AUTHORIZATION_SERVER, JWKS]


async def make_ring() -> KeySet:
    for alg in ("ES256", "RS256"):
        await lifecycle.ensure_signing_key(alg)
    ring = KeySet()
    await ring.load()
    return ring


@pytest.fixture(scope="module")
async def loaded_ring(cluster: Cluster, template: str) -> KeySet:
    """Loaded once, and its database left behind: every test here shows that none is needed."""
    async with isolated(await cluster.create_database(template)):
        return await make_ring()


@pytest.fixture
def ring(loaded_ring: KeySet, monkeypatch: pytest.MonkeyPatch) -> KeySet:
    monkeypatch.setattr(metadata, "key_set", loaded_ring)
    return loaded_ring


@pytest.fixture
async def web(ring: KeySet) -> AsyncIterator[httpx.AsyncClient]:
    app = router(metadata.ROUTES, is_client_origin=lambda origin: origin == CLIENT)
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url=settings().issuer) as client:
        yield client


async def test_the_metadata(web: httpx.AsyncClient) -> None:
    response = await web.get(DISCOVERY)
    assert response.status_code == 200
    issuer = settings().issuer
    confidential = ["client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt"]
    assertions = [
        *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519", "HS256")
    ]
    assert response.json() == {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "userinfo_endpoint": f"{issuer}/userinfo",
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "pushed_authorization_request_endpoint": f"{issuer}/par",
        "require_pushed_authorization_requests": False,
        "introspection_endpoint": f"{issuer}/introspect",
        "revocation_endpoint": f"{issuer}/revoke",
        "end_session_endpoint": f"{issuer}/logout",
        "device_authorization_endpoint": f"{issuer}/device_authorization",
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
        "check_session_iframe": f"{issuer}/session/check",
        "frontchannel_logout_supported": True,
        "frontchannel_logout_session_supported": True,
        "scopes_supported": [
            "openid",
            "profile",
            "email",
            "address",
            "phone",
            "groups",
            "roles",
            "organization",
            "offline_access",
        ],
        "response_types_supported": ["code"],
        "response_modes_supported": [
            *("query", "fragment", "form_post", "jwt", "query.jwt", "fragment.jwt", "form_post.jwt")
        ],
        # No mail is sent here, so nobody can register: tests/admin/console/test_without_mail.py.
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "grant_types_supported": [
            *("authorization_code", "refresh_token", "client_credentials"),
            *(token_exchange.GRANT_TYPE, jwt_bearer.GRANT_TYPE, DEVICE_GRANT),
            "urn:openid:params:grant-type:ciba",
        ],
        "backchannel_authentication_endpoint": f"{issuer}/backchannel-authentication",
        "backchannel_token_delivery_modes_supported": ["poll", "ping"],
        "backchannel_authentication_request_signing_alg_values_supported": assertions[:-1],
        "backchannel_user_code_parameter_supported": False,
        "acr_values_supported": ["1", "2", "phr"],
        "authorization_challenge_endpoint": f"{issuer}/challenge",
        "subject_types_supported": ["public", "pairwise"],
        **{
            f"{kind}_{what}_values_supported": values
            for kind in ("id_token", "userinfo", "introspection", "authorization")
            for what, values in {
                "signing_alg": ["RS256", "ES256"],
                "encryption_alg": ["RSA-OAEP", "RSA-OAEP-256", "ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A256KW"],
                "encryption_enc": ["A128CBC-HS256", "A256CBC-HS512", "A128GCM", "A256GCM"],
            }.items()
        },
        "token_endpoint_auth_methods_supported": [*confidential, "none"],
        "token_endpoint_auth_signing_alg_values_supported": assertions,
        "introspection_endpoint_auth_methods_supported": confidential,
        "introspection_endpoint_auth_signing_alg_values_supported": assertions,
        "revocation_endpoint_auth_methods_supported": [*confidential, "none"],
        "revocation_endpoint_auth_signing_alg_values_supported": assertions,
        "dpop_signing_alg_values_supported": [
            *("ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "EdDSA", "Ed25519")
        ],
        "claim_types_supported": ["normal", "distributed"],
        "claims_supported": list(CLAIMS),
        "claims_parameter_supported": True,
        "request_parameter_supported": True,
        "request_uri_parameter_supported": True,
        "require_request_uri_registration": True,
        "request_object_signing_alg_values_supported": [
            "RS256",
            "RS384",
            "RS512",
            "PS256",
            "PS384",
            "PS512",
            "ES256",
            "ES384",
            "ES512",
            "EdDSA",
            "Ed25519",
        ],
        "require_signed_request_object": False,
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "ui_locales_supported": list(i18n.LOCALES),
    }


async def test_both_documents_are_the_same(web: httpx.AsyncClient) -> None:
    assert (await web.get(DISCOVERY)).content == (await web.get(AUTHORIZATION_SERVER)).content


async def test_the_jwks(web: httpx.AsyncClient, ring: KeySet) -> None:
    response = await web.get((await web.get(DISCOVERY)).json()["jwks_uri"])
    assert response.content == ring.jwks().body
    assert len(response.json()["keys"]) == 2


@pytest.mark.parametrize("path", PATHS)
async def test_anyone_may_read_and_cache_it(web: httpx.AsyncClient, path: str) -> None:
    response = await web.get(path, headers={"Origin": "https://spa.example"})
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == f"public, max-age={settings().jwks_max_age}"
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["etag"].startswith('"')
    assert int(response.headers["content-length"]) == len(response.content)


@pytest.mark.parametrize("path", PATHS)
async def test_head_is_get_without_the_body(web: httpx.AsyncClient, path: str) -> None:
    head, get = await web.head(path), await web.get(path)
    assert (head.status_code, head.content) == (200, b"")
    for response in (head, get):
        del response.headers["x-request-id"]
    assert head.headers == get.headers


@pytest.mark.fault(37)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("origin", ["https://spa.example", CLIENT, "null"])
async def test_browsers_may_ask_with_conditions(web: httpx.AsyncClient, path: str, origin: str) -> None:
    response = await web.options(
        path,
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "if-none-match",
        },
    )
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["access-control-allow-origin"] == (CLIENT if origin == CLIENT else "*")
    assert "GET" in response.headers["access-control-allow-methods"]
    # For requests with cookies, `*` has no effect: the name must be listed.
    assert {"*", "If-None-Match"} <= set(response.headers["access-control-allow-headers"].split(", "))
    assert response.headers.get("access-control-allow-credentials") == ("true" if origin == CLIENT else None)


@pytest.mark.parametrize("path", PATHS)
async def test_other_methods_are_refused(web: httpx.AsyncClient, path: str) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert (await web.request(method, path)).status_code == 405


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', ' "a" ,W/{} ', "*"])
async def test_a_cached_document_is_not_sent_again(web: httpx.AsyncClient, path: str, form: str) -> None:
    first = await web.get(path)
    for method in ("GET", "HEAD"):
        response = await web.request(method, path, headers={"If-None-Match": form.format(first.headers["etag"])})
        assert (response.status_code, response.content) == (304, b"")
        for name in ("etag", "cache-control", "access-control-allow-origin"):
            assert response.headers[name] == first.headers[name]


@pytest.mark.parametrize("form", ["", '"other"', "{}x", "other", '"*"'])
async def test_anything_else_is_sent(web: httpx.AsyncClient, form: str) -> None:
    etag = (await web.get(JWKS)).headers["etag"]
    response = await web.get(JWKS, headers={"If-None-Match": form.format(etag.strip('"'))})
    assert response.status_code == 200


async def test_a_change_of_the_keys_changes_the_tags(
    web: httpx.AsyncClient,
    own_database: str,
    move_clock: MoveClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ring = await make_ring()
    monkeypatch.setattr(metadata, "key_set", ring)
    before = [(await web.get(path)).headers["etag"] for path in (DISCOVERY, JWKS)]
    kid = await lifecycle.publish(jose.generate("EdDSA"))
    await ring.load()
    published = [(await web.get(path)).headers["etag"] for path in (DISCOVERY, JWKS)]
    assert published[0] == before[0]
    assert published[1] != before[1]
    await lifecycle.activate(kid)
    await ring.load()
    active = await web.get(DISCOVERY)
    assert active.headers["etag"] != before[0]
    assert active.json()["id_token_signing_alg_values_supported"] == ["RS256", "ES256", "EdDSA"]


async def test_the_bytes_are_prepared_once(web: httpx.AsyncClient, ring: KeySet) -> None:
    await web.get(DISCOVERY)
    before = metadata._discovery.cache_info().misses, ring.jwks()
    for path in PATHS:
        await web.get(path)
    assert (metadata._discovery.cache_info().misses, ring.jwks()) == before
    assert ring.jwks() is before[1]


def test_the_standard_scopes_ask_for_the_standard_claims() -> None:
    """OpenID Connect Core sections 5.1 and 5.4."""
    assert len(STANDARD_SCOPES["profile"]) == 14
    assert len(set(CLAIMS)) == len(CLAIMS)
    assert {"sub", "name", "email", "email_verified", "address", "phone_number"} <= set(CLAIMS)


def test_every_scope_has_a_description() -> None:
    for name in STANDARD_SCOPES:
        assert describe(name).name == name
        assert describe(name).title not in ("", name)
    assert describe("invoices.read").title == "invoices.read"
