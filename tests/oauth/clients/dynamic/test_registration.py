"""Dynamic client registration: the registration endpoint, with an initial access token."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from idp import ids
from idp.accounts.tables import User
from idp.audit.tables import AuditEvent
from idp.infra.db.engine import execute, fetch
from idp.keys import jose
from idp.oauth.clients.dynamic.ceiling import Ceiling
from idp.oauth.clients.dynamic.request import MEMBERS
from idp.oauth.clients.metadata import OPERATOR_MEMBERS, ClientMetadata
from idp.oauth.clients.tables import ClientRow
from tests.oauth.clients.dynamic.conftest import URI, MakeToken, Registrar
from tests.support.browser import Browser
from tests.support.oauth import RelyingParty
from tests.support.server import Server


async def count() -> int:
    return int(await ClientRow.count().where(ClientRow.origin == "dynamic"))


async def test_the_response(registrar: Registrar, token: str) -> None:
    """RFC 7591 section 3.2.1; OpenID Connect Dynamic Client Registration section 3.2."""
    response = await registrar.post(token, redirect_uris=[URI], client_name="Shop")
    assert response.status_code == 201
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    body = response.json()
    stored = await ClientRow.select().where(ClientRow.client_id == body["client_id"]).first()
    assert stored is not None
    assert stored["origin"] == "dynamic"
    assert stored["expires_at"] is None
    assert stored["client_secret_hash"] == ids.digest(body["client_secret"])
    assert stored["registration_token_hash"] == ids.digest(body["registration_access_token"])
    assert body["client_secret_expires_at"] == 0
    assert body["client_id_issued_at"] == int(stored["created_at"].timestamp())
    assert body["registration_client_uri"] == f"{registrar.issuer}/register/{body['client_id']}"
    assert (body["client_name"], body["redirect_uris"]) == ("Shop", [URI])
    # RFC 7591 section 2, OpenID Connect Dynamic Client Registration section 2.
    defaults = {
        "token_endpoint_auth_method": "client_secret_basic", "grant_types": ["authorization_code"],
        "response_types": ["code"], "application_type": "web", "id_token_signed_response_alg": "RS256",
        "subject_type": "public", "require_auth_time": False,
    }  # fmt: skip
    assert {name: body[name] for name in defaults} == defaults
    assert body["scope"] == "openid profile email address phone offline_access"
    assert not body.keys() & OPERATOR_MEMBERS
    assert None not in body.values()


async def test_discovery_lists_the_endpoint(registrar: Registrar) -> None:
    for path in ("openid-configuration", "oauth-authorization-server"):
        document = (await registrar.http.get(f"{registrar.issuer}/.well-known/{path}")).json()
        assert document["registration_endpoint"] == f"{registrar.issuer}/register"


async def test_a_client_without_a_secret(registrar: Registrar, token: str) -> None:
    body = await registrar.register(token, token_endpoint_auth_method="none")
    assert not body.keys() & {"client_secret", "client_secret_expires_at"}
    assert body["client_name"] == body["client_id"]


@pytest.mark.parametrize("uri", ["http://127.0.0.1:6274/cb", "http://localhost/cb", "cursor://anysphere.mcp/cb", URI])
async def test_the_application_type(registrar: Registrar, token: str, uri: str) -> None:
    """Many clients on devices leave it out, those of MCP among them."""
    registered = await registrar.register(token, redirect_uris=[uri], token_endpoint_auth_method="none")
    assert registered["application_type"] == ("web" if uri == URI else "native")
    body = {"client_id": registered["client_id"], "redirect_uris": ["https://b.example/cb"]}
    updated = (await registrar.call("PUT", registered, json=body)).json()
    assert updated["application_type"] == registered["application_type"]


async def test_what_the_conformance_suite_sends(registrar: Registrar, token: str) -> None:
    """A name, contacts and a key without kid; and members that we do not know."""
    key = jose.generate("RS256").public_jwk
    jwks = {"keys": [{name: value for name, value in key.items() if name != "kid"}]}
    body = await registrar.register(
        token, client_name="OIDF", contacts=["certification@example.com"], jwks=jwks, response_types=["code"],
        grant_types=["authorization_code", "refresh_token"], something_new={"x": None}, require_pkce=False,
    )  # fmt: skip
    assert body["jwks"] == jwks
    assert body["contacts"] == ["certification@example.com"]
    assert not body.keys() & {"something_new", "require_pkce"}


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "none"])
async def test_a_sign_in(
    registrar: Registrar, make_token: MakeToken, http: httpx.AsyncClient, browser: Browser, alice: User, method: str
) -> None:
    """The client works at once. Its user is asked for consent."""
    token = await make_token()
    body = await registrar.register(
        token, token_endpoint_auth_method=method, grant_types=["authorization_code", "refresh_token"]
    )
    party = RelyingParty(registrar.issuer, http, body["client_id"], body.get("client_secret"), scope="openid email")
    party.redirect_uri = URI
    party.secret_in_body = method == "client_secret_post"
    page = await browser.sign_in(await party.authorize(browser), alice.email, "correct horse battery staple")  # type: ignore[arg-type]
    assert "consent-allow" in page.ids  # type: ignore[union-attr]
    tokens = (await party.redeem(await party.sign_in(browser, alice.email))).json()
    assert tokens["scope"] == "openid email"
    assert (await party.refresh(tokens["refresh_token"])).status_code == 200


async def test_pkce_is_the_operators_decision(
    registrar: Registrar, make_token: MakeToken, http: httpx.AsyncClient, browser: Browser, alice: User
) -> None:
    """The Basic and Dynamic plans of the OpenID Foundation send none: their initial access token allows it."""
    for require_pkce in (True, False):
        body = await registrar.register(await make_token(require_pkce=require_pkce))
        party = RelyingParty(registrar.issuer, http, body["client_id"], body["client_secret"], redirect_uri=URI)
        without = {"code_challenge": None, "code_challenge_method": None, "scope": "openid"}
        if require_pkce:
            answer = await party.authorize(browser, **without)
            assert answer.parameters["error"] == "invalid_request"  # type: ignore[union-attr]
            continue
        code = await party.sign_in(browser, alice.email, **without)
        assert (await party.redeem(code, code_verifier=None)).status_code == 200
    public = await registrar.register(await make_token(require_pkce=False), token_endpoint_auth_method="none")
    row = await ClientRow.select().where(ClientRow.client_id == public["client_id"]).first()
    assert row is not None
    assert json.loads(row["metadata"])["require_pkce"] is True


@pytest.mark.parametrize("token", [None, "x", "x" * 5000, "a\u00e9"])
async def test_a_wrong_initial_access_token(registrar: Registrar, token: str | None) -> None:
    headers = {"Authorization": f"Bearer {token}".encode()} if token is not None else {}
    before = await count()
    url = f"{registrar.issuer}/register"
    response = await registrar.http.post(url, json={"redirect_uris": [URI]}, headers=headers)
    assert response.status_code == 401
    assert response.json()["error"] == "invalid_token"
    assert response.headers["www-authenticate"].startswith("Bearer ")
    assert "DPoP" not in response.headers["www-authenticate"]
    assert await count() == before


async def test_expired_used_up_and_deleted_tokens(registrar: Registrar, make_token: MakeToken) -> None:
    for statement in (
        "UPDATE initial_access_token SET expires_at = now() WHERE token_hash = $1",
        "UPDATE initial_access_token SET uses_left = 0 WHERE token_hash = $1",
        "DELETE FROM initial_access_token WHERE token_hash = $1",
    ):
        token = await make_token()
        await execute(statement, ids.digest(token))
        assert (await registrar.post(token, redirect_uris=[URI])).status_code == 401


async def test_a_race_for_the_last_use(registrar: Registrar, make_token: MakeToken) -> None:
    token = await make_token(uses=2)
    before = await count()
    responses = await asyncio.gather(*(registrar.post(token, redirect_uris=[URI]) for _ in range(8)))
    assert sorted(response.status_code for response in responses) == [201] * 2 + [401] * 6
    assert await count() == before + 2


async def test_a_refused_registration_takes_no_use(registrar: Registrar, make_token: MakeToken) -> None:
    token = await make_token()
    assert (await registrar.post(token, redirect_uris=["https://a.example/#x"])).status_code == 400
    await registrar.register(token)


async def test_only_a_hash_of_the_token_is_stored(registrar: Registrar, make_token: MakeToken) -> None:
    token = await make_token()
    body = await registrar.register(token)
    rows = await fetch("SELECT initial_access_token::text AS row FROM initial_access_token")
    rows += await fetch("SELECT client::text AS row FROM client WHERE client_id = $1", body["client_id"])
    events = await AuditEvent.select().where(AuditEvent.client_id == body["client_id"])
    for secret in (token, body["client_secret"], body["registration_access_token"]):
        assert not [row for row in rows if secret in row["row"]]
        assert secret not in str(events)
    assert [event["event"] for event in events] == ["client_registered"]
    assert events[0]["actor"].startswith("initial_access_token:")


BAD_URIS = [
    ["https://a.example/cb#x"], ["https://a.example/cb#"], ["http://a.example/cb"], ["javascript:alert(1)"], ["/cb"],
    [""], ["https://*.example/cb"], ["https://u:p@a.example/cb"], ["https://a.example/cb?code=1"], ["x" * 3000], [],
]  # fmt: skip


@pytest.mark.parametrize("uris", BAD_URIS, ids=str)
async def test_redirect_uris(registrar: Registrar, token: str, uris: list[str]) -> None:
    """RFC 7591 section 3.2.2."""
    before = await count()
    response = await registrar.post(token, redirect_uris=uris)
    assert response.status_code == 400
    assert response.json()["error"] == "invalid_redirect_uri"
    assert response.headers["content-type"] == "application/json"
    assert await count() == before


#: Values that are wrong for a member of any type.
def wrong(name: str) -> list[Any]:
    default = next(
        value
        for field, value in zip(
            reversed(ClientMetadata.__struct_fields__), reversed(ClientMetadata.__struct_defaults__), strict=False
        )
        if field == name
    ) if name != "client_name" else ""  # fmt: skip
    values: list[Any] = [None, 1.5, [1], [None], [["x"]], {"x": 1}, "x\0y", ["x\0y"]]
    if name in ("jwks",):
        values = [None, 1.5, "x", [1], {"keys": [{"kty": "x\0"}]}]
    if isinstance(default, bool):
        values += ["true", 1]
    elif isinstance(default, str):
        values += [True, 7]
    elif isinstance(default, tuple):
        values += [True, "x", 7]
    return values


@pytest.mark.parametrize("name", sorted(MEMBERS))
async def test_wrong_values(registrar: Registrar, token: str, name: str) -> None:
    """The error names the member, and nothing is stored."""
    before = await count()
    for value in wrong(name):
        response = await registrar.post(token, **{"redirect_uris": [URI], name: value})
        assert response.status_code == 400, (name, value, response.text)
        body = response.json()
        assert body["error"] == "invalid_client_metadata", (name, value)
        assert name in body["error_description"], (value, body)
    assert await count() == before


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b'"x"', b"1", b"\xff\xfe", b'{"redirect_uris": NaN}', b'{"x": 1, "x": 2}', b"{}x",
        b'{"client_name": "a", "client_name": "b", "redirect_uris": ["https://a.example/cb"]}',
        b'{"client_name": "\\ud800", "redirect_uris": ["https://a.example/cb"]}',
        b'{"default_max_age": 1' + b"0" * 5000 + b', "redirect_uris": ["https://a.example/cb"]}',
        b'{"default_max_age": 1' + b"0" * 50 + b', "redirect_uris": ["https://a.example/cb"]}',
        b'{"jwks": ' + b'{"a":' * 5000 + b"1" + b"}" * 5001,
        b'{"contacts": ["' + b'a", "' * (Ceiling().max_bytes // 4) + b'b"], "redirect_uris": ["https://a.example/cb"]}',
    ],
    ids=lambda content: content[:30].decode("latin-1"),
)  # fmt: skip
async def test_malformed_bodies(registrar: Registrar, token: str, content: bytes) -> None:
    before = await count()
    response = await registrar.post(token, content)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_client_metadata")
    assert await count() == before


@pytest.mark.parametrize("scope", ["openid\temail", "openid\nemail", "openid  email", " openid", 'open"id', "\u00f6"])
async def test_a_malformed_scope(registrar: Registrar, token: str, scope: str) -> None:
    response = await registrar.post(token, redirect_uris=[URI], scope=scope)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_client_metadata")
    assert response.json()["error_description"].startswith("scope ")


async def test_a_repeated_member_is_named(registrar: Registrar, token: str) -> None:
    response = await registrar.post(token, b'{"client_name": "a", "client_name": "b"}')
    assert response.json()["error_description"] == "client_name is repeated."


async def test_another_content_type(registrar: Registrar, token: str) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
        response = await registrar.http.post(
            f"{registrar.issuer}/register", content=b"{}",
            headers={"Authorization": f"Bearer {token}", "Content-Type": content_type},
        )  # fmt: skip
        assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


async def test_a_body_that_is_too_long(registrar: Registrar, token: str) -> None:
    assert (await registrar.post(token, b'{"x": "' + b"x" * 70_000 + b'"}')).status_code == 413


async def test_a_page_in_a_browser(registrar: Registrar, make_token: MakeToken) -> None:
    """Of any origin, which this server does not know before the registration."""
    headers = {"Origin": "http://localhost:6274", "Access-Control-Request-Headers": "authorization,content-type"}
    registered = await registrar.register(await make_token())
    for url, methods in (
        (f"{registrar.issuer}/register", "POST"), (registered["registration_client_uri"], "DELETE, GET, PUT"),
    ):  # fmt: skip
        preflight = await registrar.http.options(url, headers=headers | {"Access-Control-Request-Method": "POST"})
        assert preflight.headers["access-control-allow-origin"] == "*"
        assert preflight.headers["access-control-allow-methods"] == methods
        assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
        response = await registrar.http.post(url, headers=headers)
        assert response.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in response.headers


async def test_off(start_server: Any, http: httpx.AsyncClient) -> None:
    """By default there is no such endpoint."""
    server: Server = start_server()
    for method, path in (("POST", "/register"), *((each, "/register/x") for each in ("GET", "PUT", "DELETE"))):
        assert (await http.request(method, f"{server.issuer}{path}", json={})).status_code == 404
    document = (await http.get(f"{server.issuer}/.well-known/openid-configuration")).json()
    assert "registration_endpoint" not in document
