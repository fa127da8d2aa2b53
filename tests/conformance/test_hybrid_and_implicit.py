"""Hybrid and implicit response types, as their test plans require, on a server where they are switched on."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from idp.accounts.tables import User
from idp.dev.seed import CLAIMS
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.keys import jose
from idp.keys.key_set import key_set
from idp.oauth import response_types
from idp.oauth.clients import registration
from idp.oauth.clients.service import update_client
from idp.oauth.scopes import STANDARD_SCOPES
from idp.settings import settings
from tests.conformance.conftest import ALL_SCOPES
from tests.conftest import MASTER_KEY, MakeClient
from tests.support.browser import Browser, Page, Redirect, open_browser
from tests.support.conformance import LEAN_CLAIMS, check_error_redirect, entropy
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.server import Server
from tests.support.tokens import claims_of, decode

pytestmark = pytest.mark.usefixtures("accepts_certificates")

STATE = secrets.token_urlsafe(96)
LEGACY = response_types.LEGACY
WITH_CODE = [one for one in LEGACY if "code" in one.split()]
WITH_TOKEN = [one for one in LEGACY if "token" in one.split()]
WITH_ID_TOKEN = [one for one in LEGACY if "id_token" in one.split()]
TYPES = pytest.mark.parametrize("response_type", LEGACY)


@pytest.fixture(scope="module")
def server(db: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the setting, in place of the shared one."""
    server = Server(
        tmp_path_factory.mktemp("hybrid"),
        IDP_DATABASE_URL=db,
        IDP_MASTER_KEY=MASTER_KEY,
        IDP_ADDRESS_LIMITS="false",
        IDP_LEGACY_RESPONSE_TYPES="true",
        IDP_CLIENT_REGISTRATION="open",
        IDP_CLIENT_REGISTRATION_GRANT_TYPES="authorization_code,implicit",
    )
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process too, which registers the clients."""
    config = settings().model_copy(update={"legacy_response_types": True})
    monkeypatch.setattr(response_types, "settings", lambda: config)


@pytest.fixture
async def browser(server: Server) -> AsyncIterator[Browser]:
    async with open_browser(server.issuer) as browser:
        yield browser


@pytest.fixture
async def rp(make_client: MakeClient) -> RelyingParty:
    """A client as the plans register it, for all response types."""
    return await make_client(
        scope=ALL_SCOPES,
        require_pkce=False,
        skip_consent=True,
        grant_types=["authorization_code", "implicit", "refresh_token"],
        response_types=["code", *LEGACY],
    )


async def _signed_in(browser: Browser, answer: Page | Redirect, user: User) -> Page | Redirect:
    if isinstance(answer, Page) and "login-submit" in answer.ids:
        answer = await browser.sign_in(answer, user.email, PASSWORD)
    return answer


async def _response(browser: Browser, rp: RelyingParty, user: User, **changes: str | None) -> dict[str, str]:
    """Return the parameters in the fragment, after a sign-in if there was none."""
    asked = {"state": STATE, "code_challenge": None, "code_challenge_method": None} | changes
    answer = await _signed_in(browser, await rp.authorize(browser, **asked), user)
    assert isinstance(answer, Redirect), answer.text
    assert answer.parameters == {}
    assert answer.location.startswith(f"{rp.redirect_uri}#")
    return answer.fragment


def _id_token(response: dict[str, str], rp: RelyingParty, *, nonce: str | None = "the-nonce") -> dict[str, Any]:
    """Check the ID token of an authorization response, and return its claims."""
    token = response["id_token"]
    claims = jose.verify(token, key_set.verification(), typ="JWT")
    jose.check_times(claims)
    assert (claims["iss"], claims["aud"], claims.get("nonce")) == (rp.issuer, rp.client_id, nonce)
    alg = decode(token.split(".")[0])["alg"]
    beside = {"c_hash": response.get("code"), "at_hash": response.get("access_token"), "s_hash": response.get("state")}
    for name, value in beside.items():
        assert claims.get(name) == (jose.left_half_hash(value, alg) if value else None), name
    return claims


@TYPES
async def test_happy_path(browser: Browser, rp: RelyingParty, person: User, response_type: str) -> None:
    """oidcc-server: in the fragment, with the hashes of what is beside; both ID tokens agree; the token is usable."""
    words = response_type.split()
    response = await _response(browser, rp, person, response_type=response_type)
    expected = {"state", "iss"} | set(words) - {"token"}
    expected |= {"access_token", "token_type", "expires_in", "scope"} if "token" in words else set()
    assert set(response) == expected
    assert (response["state"], response["iss"]) == (STATE, rp.issuer)
    claims: dict[str, Any] = {}
    if "id_token" in words:
        claims = _id_token(response, rp)
        assert set(claims) <= LEAN_CLAIMS or response_type == "id_token"
    if "token" in words:
        assert (response["token_type"], response["expires_in"]) == ("Bearer", "600")
        userinfo = await rp.userinfo(response["access_token"])
        assert userinfo.json()["sub"] == str(person.id)
        assert claims.get("sub", str(person.id)) == str(person.id)
    if "code" in words:
        assert entropy(response["code"]) > 96
        tokens = (await rp.redeem(response["code"], code_verifier=None)).json()
        second = jose.verify(tokens["id_token"], key_set.verification(), typ="JWT")
        assert (second["iss"], second["sub"]) == (rp.issuer, str(person.id))
        assert second["nonce"] == "the-nonce"
        assert (await rp.refresh(tokens["refresh_token"])).status_code == 200


@TYPES
async def test_the_order_of_the_words_has_no_meaning(
    browser: Browser, rp: RelyingParty, person: User, response_type: str
) -> None:
    """oidcc-alternate-happy-flow"""
    response = await _response(browser, rp, person, response_type=" ".join(reversed(response_type.split())))
    assert {"code", "id_token"} & set(response_type.split()) <= set(response)


@TYPES
async def test_nonce(browser: Browser, rp: RelyingParty, person: User, response_type: str) -> None:
    """oidcc-ensure-request-without-nonce-fails; optional for `code token`."""
    await _response(browser, rp, person, response_type=response_type)
    response = await _response(browser, rp, person, response_type=response_type, nonce=None)
    if response_type in WITH_ID_TOKEN:
        check_error_redirect(response, error="invalid_request", state=STATE, issuer=rp.issuer)
    else:
        assert "access_token" in response


@TYPES
@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"prompt": "none"}, "login_required"),
        ({"response_mode": "query"}, "invalid_request"),
        ({"response_mode": "query.jwt"}, None),
        ({"response_mode": "none-such"}, "invalid_request"),
        ({"scope": "profile"}, "invalid_scope"),
        ({"max_age": "soon"}, "invalid_request"),
        ({"code_challenge": "x", "code_challenge_method": "plain"}, "invalid_request"),
    ],
)
async def test_errors_are_in_the_fragment(
    browser: Browser, rp: RelyingParty, response_type: str, changes: dict[str, str], error: str | None
) -> None:
    """Never in the query, whatever mode was asked for."""
    answer = await rp.authorize(browser, response_type=response_type, state=STATE, **changes)
    assert isinstance(answer, Redirect)
    assert answer.parameters == {}
    if error is None:
        assert set(answer.fragment) == {"response"}
        claims = jose.verify(answer.fragment["response"], key_set.verification(), typ="JWT")
        assert claims["error"] == "invalid_request"
    else:
        check_error_redirect(answer.fragment, error=error, state=STATE, issuer=rp.issuer)


@TYPES
@pytest.mark.parametrize("mode", ["form_post", "form_post.jwt", "fragment.jwt", "jwt"])
async def test_other_modes(browser: Browser, rp: RelyingParty, person: User, response_type: str, mode: str) -> None:
    """The form_post plans, and JARM: the same parameters."""
    plain = await _response(browser, rp, person, response_type=response_type)
    answer = await rp.authorize(browser, response_type=response_type, response_mode=mode, state=STATE)
    fields = answer.forms[0].fields if isinstance(answer, Page) else answer.fragment
    assert isinstance(answer, Page) is mode.startswith("form_post")
    if mode.endswith("jwt"):
        assert set(fields) == {"response"}
        fields = jose.verify(fields["response"], key_set.verification(), typ="JWT")
        assert fields.pop("aud") == rp.client_id
        assert fields.pop("exp")
    # The helper keeps it apart in a redirect.
    assert set(fields) - {"session_state"} == set(plain)


@pytest.mark.parametrize("response_type", WITH_ID_TOKEN)
async def test_the_time_of_the_sign_in(browser: Browser, rp: RelyingParty, person: User, response_type: str) -> None:
    """oidcc-prompt-login, -max-age-10000, -prompt-none-logged-in, -id-token-hint, -ensure-request-with-acr-values-…"""
    first = await _response(browser, rp, person, response_type=response_type, max_age="15000")
    claims = _id_token(first, rp)
    same = [
        {"max_age": "10000"},
        {"prompt": "none"},
        {"prompt": "none", "id_token_hint": first["id_token"]},
        {"acr_values": "1"},
        {"extra": "foobar"},
    ]
    for changes in same:
        answer = await rp.authorize(browser, response_type=response_type, state=STATE, **changes)
        assert isinstance(answer, Redirect), changes
        again = _id_token(answer.fragment, rp)
        assert [again[name] for name in ("sub", "auth_time", "acr")] == [
            claims[name] for name in ("sub", "auth_time", "acr")
        ]
    page = await rp.authorize(browser, response_type=response_type, prompt="login")
    assert isinstance(page, Page)
    assert "login-submit" in page.ids


@TYPES
async def test_requests_by_post(browser: Browser, rp: RelyingParty, person: User, response_type: str) -> None:
    """oidcc-ensure-post-request-succeeds, -ensure-registered-redirect-uri"""
    await _response(browser, rp, person, response_type=response_type)
    parameters = rp.parameters(response_type=response_type)
    answer = await browser.post("/authorize", parameters, origin="https://app.example.com")
    assert isinstance(answer, Redirect)
    assert {"code", "id_token"} & set(response_type.split()) <= set(answer.fragment)
    page = await rp.authorize(browser, response_type=response_type, redirect_uri=f"{rp.redirect_uri}/more")
    assert isinstance(page, Page)
    assert page.status == 400
    assert "oidc-error" in page.ids


@pytest.mark.parametrize("state", ["", "zustand-é", "状態", "\u00ad", "a" * 2048, '"><svg onload=x>', "%00", "+ &=#"])
async def test_the_hash_of_any_state(browser: Browser, rp: RelyingParty, person: User, state: str) -> None:
    response = await _response(browser, rp, person, response_type="code id_token", state=state)
    assert response.get("state", "") == state
    assert "id_token" in response
    _id_token(response, rp)


async def test_claims_of_scopes(browser: Browser, rp: RelyingParty, person: User) -> None:
    """OpenID Connect Core section 5.4: in the ID token if nothing gives access to userinfo, and only then."""
    for response_type in WITH_ID_TOKEN:
        response = await _response(browser, rp, person, response_type=response_type, scope="openid email phone")
        claims = _id_token(response, rp)
        wanted = {*STANDARD_SCOPES["email"], *STANDARD_SCOPES["phone"]}
        assert wanted & set(claims) == (wanted if response_type == "id_token" else set()), response_type


async def test_a_claim_asked_for_in_the_id_token(browser: Browser, rp: RelyingParty, person: User) -> None:
    """oidcc-claims-essential, for implicit: claims.id_token.name"""
    wanted = json.dumps({"id_token": {"name": {"essential": True}}})
    for response_type in WITH_ID_TOKEN:
        response = await _response(browser, rp, person, response_type=response_type, scope="openid", claims=wanted)
        assert _id_token(response, rp)["name"] == CLAIMS["name"]


@pytest.mark.parametrize("response_type", WITH_CODE)
async def test_pkce(browser: Browser, make_client: MakeClient, person: User, response_type: str) -> None:
    """A code needs it like any other, and what is beside it does not."""
    party = await make_client(
        skip_consent=True,
        grant_types=["authorization_code", "implicit"],
        response_types=["id_token", response_type],
    )
    response = await _response(browser, party, person, response_type="id_token")
    assert set(response) == {"id_token", "state", "iss"}
    refused = await _response(browser, party, person, response_type=response_type)
    check_error_redirect(refused, error="invalid_request", state=STATE, issuer=party.issuer)
    answer = await party.authorize(browser, response_type=response_type)
    assert isinstance(answer, Redirect)
    assert (await party.redeem(answer.fragment["code"], code_verifier=None)).status_code == 400
    answer = await party.authorize(browser, response_type=response_type)
    assert isinstance(answer, Redirect)
    assert (await party.redeem(answer.fragment["code"])).status_code == 200


@pytest.mark.parametrize("response_type", WITH_TOKEN)
async def test_a_token_ends_with_its_session(
    browser: Browser, rp: RelyingParty, person: User, response_type: str
) -> None:
    """Also with offline_access, which is for refresh tokens."""
    scope = "openid email offline_access"
    response = await _response(browser, rp, person, response_type=response_type, scope=scope)
    assert response["scope"] == "openid email"
    assert (await rp.userinfo(response["access_token"])).status_code == 200
    await browser.submit(await browser.get("/logout"), "logout-confirm")  # type: ignore[arg-type]
    assert (await rp.userinfo(response["access_token"])).status_code == 401
    assert await rp.introspect(response["access_token"]) == {"active": False}


@pytest.mark.parametrize("response_type", WITH_TOKEN)
async def test_a_token_can_be_revoked(browser: Browser, rp: RelyingParty, person: User, response_type: str) -> None:
    """By the client, and with its family; it is in the audit trail and among the user's applications."""
    first = await _response(browser, rp, person, response_type=response_type)
    second = await _response(browser, rp, person, response_type=response_type)
    assert (await rp.post("/revoke", token=first["access_token"])).status_code == 200
    assert (await rp.userinfo(first["access_token"])).status_code == 401
    assert (await rp.userinfo(second["access_token"])).status_code == 200
    families = await fetch("SELECT id, offline_access FROM token_family WHERE user_id = $1", person.id)
    assert [family["offline_access"] for family in families] == [False, False]
    await execute("UPDATE token_family SET revoked_at = now() WHERE user_id = $1", person.id)
    assert (await rp.userinfo(second["access_token"])).status_code == 401


async def test_a_code_beside_an_id_token_makes_no_family(browser: Browser, rp: RelyingParty, person: User) -> None:
    await _response(browser, rp, person, response_type="code id_token")
    assert await fetch("SELECT FROM token_family WHERE user_id = $1", person.id) == []


async def test_a_code_used_twice_leaves_the_other_token(browser: Browser, rp: RelyingParty, person: User) -> None:
    """RFC 6749 section 4.1.2: what the code yielded is revoked. The token beside it never came from the code."""
    response = await _response(browser, rp, person, response_type="code token")
    tokens = (await rp.redeem(response["code"], code_verifier=None)).json()
    assert (await rp.redeem(response["code"], code_verifier=None)).json()["error"] == "invalid_grant"
    assert (await rp.userinfo(tokens["access_token"])).status_code == 401
    assert (await rp.userinfo(response["access_token"])).status_code == 200


async def test_pairwise_and_encrypted(browser: Browser, make_client: MakeClient, person: User) -> None:
    """What other responses have, these have too."""
    party = await make_client(
        redirect_uris=["https://implicit.example/cb"],
        skip_consent=True,
        grant_types=["implicit"],
        response_types=["id_token token"],
        subject_type="pairwise",
    )
    response = await _response(browser, party, person, response_type="id_token token")
    subject = _id_token(response, party)["sub"]
    assert subject != str(person.id)
    assert (await party.userinfo(response["access_token"])).json()["sub"] == subject


# Who may use them


async def test_discovery(server: Server, http: httpx.AsyncClient) -> None:
    found = (await http.get(f"{server.issuer}/.well-known/openid-configuration")).json()
    assert found["response_types_supported"] == ["code", *LEGACY]
    assert "implicit" in found["grant_types_supported"]


@TYPES
async def test_dynamic_registration(
    server: Server, http: httpx.AsyncClient, browser: Browser, person: User, response_type: str
) -> None:
    """The dynamic variants of the plans: with the grants that the response type needs, and not without."""
    metadata = {
        "client_name": "Registered",
        "redirect_uris": ["https://registered.example/cb"],
        "response_types": [response_type],
        "token_endpoint_auth_method": "none",
        "scope": "openid email",
    }
    refused = await http.post(f"{server.issuer}/register", json=metadata | {"grant_types": ["authorization_code"]})
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_client_metadata")
    grants = sorted(response_types.grants_of(response_type))
    made = await http.post(f"{server.issuer}/register", json=metadata | {"grant_types": grants})
    assert made.status_code == 201, made.text
    assert made.json()["response_types"] == [response_type]
    party = RelyingParty(server.issuer, http, made.json()["client_id"], redirect_uri=metadata["redirect_uris"][0])
    party.scope = metadata["scope"]
    answer = await _signed_in(browser, await party.authorize(browser, response_type=response_type), person)
    assert isinstance(answer, Page)
    answer = await browser.submit(answer, "consent-allow")
    assert isinstance(answer, Redirect)
    assert {"code", "id_token"} & set(response_type.split()) <= set(answer.fragment)
    await http.delete(
        made.json()["registration_client_uri"],
        headers={"Authorization": f"Bearer {made.json()['registration_access_token']}"},
    )


@pytest.mark.parametrize(
    "response_type", ["token", "none", "code none", "id_token id_token", "CODE TOKEN", "code,token"]
)
async def test_types_that_do_not_exist(browser: Browser, rp: RelyingParty, response_type: str) -> None:
    answer = await rp.authorize(browser, response_type=response_type, state=STATE)
    assert isinstance(answer, Redirect)
    error = answer.parameters or answer.fragment
    assert error["error"] == "unsupported_response_type"


@TYPES
async def test_a_client_that_did_not_register_them(
    browser: Browser, make_client: MakeClient, person: User, response_type: str
) -> None:
    party = await make_client(skip_consent=True)
    await party.sign_in(browser, person.email)
    answer = await party.authorize(browser, response_type=response_type, state=STATE)
    assert isinstance(answer, Redirect)
    check_error_redirect(answer.fragment, error="unauthorized_client", state=STATE, issuer=party.issuer)


@pytest.mark.parametrize(
    "bound", [{"dpop_bound_access_tokens": True}, {"tls_client_certificate_bound_access_tokens": True}, {}]
)
@pytest.mark.parametrize("response_type", WITH_TOKEN)
async def test_tokens_bound_to_a_key(
    browser: Browser, make_client: MakeClient, response_type: str, bound: dict[str, bool]
) -> None:
    """A token in a fragment cannot be bound, so a client that wants that gets none."""
    party = await make_client(
        grant_types=["authorization_code", "implicit"], response_types=["code", response_type], **bound
    )
    for asked in ({"dpop_jkt": "A" * 43}, {"authorization_details": "[]"}):
        answer = await party.authorize(browser, response_type=response_type, **({} if bound else asked))
        assert isinstance(answer, Redirect)
        assert answer.fragment["error"] == ("unauthorized_client" if bound else "invalid_request")


async def test_a_client_that_loses_them_while_its_user_signs_in(
    browser: Browser, rp: RelyingParty, person: User
) -> None:
    """What was validated when the request came is not enough."""
    page = await rp.authorize(browser, response_type="id_token token", state=STATE)
    await update_client(rp.client_id, grant_types=["authorization_code"], response_types=["code"])
    async with asyncio.timeout(30):
        while not isinstance(await rp.authorize(browser, response_type="id_token"), Redirect):
            await asyncio.sleep(0.02)
    answer = await _signed_in(browser, page, person)
    assert isinstance(answer, Redirect)
    check_error_redirect(answer.fragment, error="unauthorized_client", state=STATE, issuer=rp.issuer)


async def test_a_session_that_ends_meanwhile(browser: Browser, rp: RelyingParty, person: User) -> None:
    """The statement that makes the family checks user and session itself."""
    await _response(browser, rp, person, response_type="id_token token")
    await execute("UPDATE users SET disabled_at = now() WHERE id = $1", person.id)
    answer = await rp.authorize(browser, response_type="id_token token", prompt="none")
    assert isinstance(answer, Redirect)
    assert "access_token" not in answer.fragment
    assert answer.fragment["error"] == "login_required"


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"response_types": ["id_token"]}, "needs the grants implicit"),
        ({"response_types": ["code token"], "grant_types": ["implicit"]}, "needs the grants authorization_code"),
        ({"response_types": ["token"], "grant_types": ["implicit"]}, "response_types must be some of"),
        ({"response_types": ["none"]}, "response_types must be some of"),
        (
            {"response_types": ["id_token"], "grant_types": ["implicit"], "redirect_uris": ["http://localhost/cb"]},
            "needs https redirect URIs",
        ),
    ],
)
async def test_what_cannot_be_registered(db: str, metadata: dict[str, Any], reason: str) -> None:
    before = await fetchrow("SELECT count(*) FROM client")
    with pytest.raises(registration.OAuthError, match=reason):
        await registration.register_client(**{"client_name": "C", "redirect_uris": ["https://c.example/cb"]} | metadata)
    assert await fetchrow("SELECT count(*) FROM client") == before


async def test_registration_where_they_are_off(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response_types, "settings", settings)
    for metadata in ({"response_types": ["id_token"]}, {"grant_types": ["authorization_code", "implicit"]}):
        with pytest.raises(registration.OAuthError, match="must be some of"):
            await registration.register_client(client_name="C", redirect_uris=["https://c.example/cb"], **metadata)


async def test_the_client_takes_part_in_the_session(browser: Browser, rp: RelyingParty, person: User) -> None:
    """Without a code too, so that it is told when the session ends."""
    answer = await _signed_in(browser, await rp.authorize(browser, response_type="id_token"), person)
    assert isinstance(answer, Redirect)
    sid = claims_of(answer.fragment["id_token"])["sid"]
    rows = await fetch("SELECT client_id FROM session_client WHERE user_id = $1 AND session_id = $2", person.id, sid)
    assert [row["client_id"] for row in rows] == [rp.client_id]
