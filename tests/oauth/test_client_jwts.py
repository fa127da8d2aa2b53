"""Signed and encrypted userinfo, ID tokens and introspection: what clients get, and what is never sent readable."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from joserfc import jwe
from joserfc.jwk import ECKey, RSAKey

from idp.accounts.tables import User
from idp.errors import OAuthError
from idp.keys import jose
from idp.keys.key_set import key_set
from idp.oauth.clients import repository
from idp.oauth.clients.registration import change, register_client, register_resource_server
from tests.conftest import MakeClient
from tests.support.browser import Browser, Redirect
from tests.support.elsewhere import answer, serving
from tests.support.oauth import RelyingParty
from tests.support.tokens import claims_of, decode

KEY, OTHER_KEY = ECKey.generate_key("P-256", {"use": "enc"}), RSAKey.generate_key(2048, {"use": "enc"})
JWKS = {"keys": [dict(key.as_dict(private=False)) for key in (KEY, OTHER_KEY)]}
INTROSPECTION = "application/token-introspection+jwt"


def _decrypt(token: str, alg: str, enc: str) -> str:
    """Decrypt a nested JWT with the key of the client. Returns the signed JWT."""
    header = decode(token.split(".", maxsplit=1)[0])
    assert (header["alg"], header["enc"], header["cty"]) == (alg, enc, "JWT")
    key = KEY if alg.startswith("ECDH") else OTHER_KEY
    found = jwe.decrypt_compact(token, key, algorithms=[alg, enc])
    assert found.plaintext is not None
    return found.plaintext.decode()


async def _verified(token: str, typ: str = "JWT") -> dict[str, Any]:
    await key_set.load()
    return jose.verify(token, key_set.verification(), typ=typ)


@pytest.mark.parametrize("alg", ["RS256", "ES256", "PS256", "EdDSA"])
async def test_signed_userinfo(browser: Browser, make_client: MakeClient, alice: User, alg: str) -> None:
    """oidcc-userinfo-rs256: application/jwt with iss and aud, and no nonce; by GET, POST and form (section 5.3.2)."""
    party = await make_client(userinfo_signed_response_alg=alg, skip_consent=True)
    tokens = await party.tokens(browser, alice.email)
    url, header = f"{party.issuer}/userinfo", {"Authorization": f"Bearer {tokens['access_token']}"}
    for response in (
        await party.http.get(url, headers=header),
        await party.http.post(url, headers=header),
        await party.http.post(url, data={"access_token": tokens["access_token"]}),
    ):
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "application/jwt"
        assert response.headers["cache-control"] == "no-store"
        header_of = decode(response.text.split(".")[0])
        assert (header_of["alg"], set(header_of)) == (alg, {"alg", "kid", "typ"})
        claims = await _verified(response.text)
        assert (claims["iss"], claims["aud"]) == (party.issuer, party.client_id)
        assert (claims["sub"], claims["email"]) == (str(alice.id), alice.email)
        assert "nonce" not in claims
    # The ID token stays as it is: RS256 and JSON beside it.
    assert decode(tokens["id_token"].split(".")[0])["alg"] == "RS256"


async def test_userinfo_errors_stay_json(browser: Browser, make_client: MakeClient) -> None:
    party = await make_client(userinfo_signed_response_alg="RS256")
    response = await party.userinfo("x.y.z")
    assert response.status_code == 401
    assert response.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize(
    ("alg", "enc"), [("ECDH-ES", None), ("ECDH-ES+A256KW", "A256GCM"), ("RSA-OAEP-256", "A256CBC-HS512")]
)
async def test_encrypted_userinfo(
    browser: Browser, make_client: MakeClient, alice: User, alg: str, enc: str | None
) -> None:
    """Signed, then encrypted; the content encryption is A128CBC-HS256 by default."""
    party = await make_client(
        jwks=JWKS,
        userinfo_signed_response_alg="RS256",
        userinfo_encrypted_response_alg=alg,
        userinfo_encrypted_response_enc=enc,
    )
    response = await party.userinfo((await party.tokens(browser, alice.email))["access_token"])
    assert response.headers["content-type"] == "application/jwt"
    claims = await _verified(_decrypt(response.text, alg, enc or "A128CBC-HS256"))
    assert (claims["iss"], claims["aud"], claims["sub"]) == (party.issuer, party.client_id, str(alice.id))


async def test_an_encrypted_id_token(browser: Browser, make_client: MakeClient, alice: User) -> None:
    """At redemption and refresh. Clients send its decrypted content as a hint (OpenID Connect Core section 3.1.2.1)."""
    party = await make_client(
        jwks=JWKS,
        id_token_encrypted_response_alg="ECDH-ES",
        id_token_encrypted_response_enc="A128GCM",
        skip_consent=True,
    )
    tokens = await party.tokens(browser, alice.email)
    refreshed = (await party.refresh(tokens["refresh_token"])).json()
    for token in (tokens["id_token"], refreshed["id_token"]):
        claims = await _verified(_decrypt(token, "ECDH-ES", "A128GCM"))
        assert (claims["iss"], claims["aud"], claims["sub"]) == (party.issuer, party.client_id, str(alice.id))
    hint = _decrypt(tokens["id_token"], "ECDH-ES", "A128GCM")
    answer = await party.authorize(browser, prompt="none", id_token_hint=hint)
    assert isinstance(answer, Redirect)
    assert "code" in answer.parameters
    answer = await party.authorize(browser, prompt="none", id_token_hint=tokens["id_token"])
    assert isinstance(answer, Redirect)
    assert answer.parameters["error"] == "login_required"


async def _introspect(party: RelyingParty, token: str, accept: str | None) -> httpx.Response:
    response = await party.post("/introspect", {"Accept": accept} if accept else None, token=token)
    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "no-store"
    return response


@pytest.mark.parametrize(
    ("accept", "as_jwt"),
    [
        (INTROSPECTION, True),
        ("Application/Token-Introspection+JWT", True),
        (f"application/json, {INTROSPECTION};q=0.5", True),
        (f"{INTROSPECTION}; q=1.0", True),
        (f"{INTROSPECTION};q=0", False),
        (f"{INTROSPECTION} ; Q=0.000", False),
        (f"{INTROSPECTION}x", False),
        ("application/json", False),
        ("application/jwt", False),
        ("*/*", False),
        ("\u00ff" * 4000, False),
        (None, False),
    ],
)
async def test_introspection_by_accept(client: RelyingParty, accept: str | None, as_jwt: bool) -> None:
    """RFC 9701 section 4: only who asks for a JWT gets one."""
    headers = {"Accept": accept.encode("latin-1")} if accept else {}
    auth = httpx.BasicAuth(client.client_id, client.client_secret or "")
    response = await client.http.post(f"{client.issuer}/introspect", data={"token": "x"}, headers=headers, auth=auth)  # type: ignore[arg-type]
    assert response.status_code == 200
    assert response.headers["content-type"] == (INTROSPECTION if as_jwt else "application/json")
    assert ("active" in response.text) is not as_jwt


async def test_introspection_as_a_jwt(browser: Browser, make_client: MakeClient, alice: User) -> None:
    """RFC 9701 section 5: for the resource server that asks, with everything that the JSON has."""
    api = await make_client(
        grant_types=["client_credentials"], redirect_uris=[], scope="", introspection_signed_response_alg="ES256"
    )
    identifier = f"https://{api.client_id}.example.com"
    await register_resource_server(identifier, "Orders", client_id=api.client_id)
    party = await make_client()
    tokens = await party.tokens(browser, alice.email, resource=identifier)
    async with asyncio.timeout(30):
        while not (plain := (await _introspect(api, tokens["access_token"], None)).json())["active"]:
            await asyncio.sleep(0.02)
    response = await _introspect(api, tokens["access_token"], INTROSPECTION)
    assert response.headers["content-type"] == INTROSPECTION
    assert decode(response.text.split(".")[0])["alg"] == "ES256"
    claims = await _verified(response.text, "token-introspection+jwt")
    assert set(claims) == {"iss", "aud", "iat", "token_introspection"}
    assert (claims["iss"], claims["aud"]) == (api.issuer, api.client_id)
    assert claims["token_introspection"] == plain
    # Its own client may introspect the refresh token; others learn nothing.
    own = await _introspect(party, tokens["refresh_token"], INTROSPECTION)
    assert (await _verified(own.text, "token-introspection+jwt"))["token_introspection"]["active"] is True
    for caller, token in ((api, tokens["refresh_token"]), (api, "x"), (party, own.text)):
        inactive = await _introspect(caller, token, INTROSPECTION)
        assert (await _verified(inactive.text, "token-introspection+jwt"))["token_introspection"] == {"active": False}


async def test_an_encrypted_introspection(make_client: MakeClient) -> None:
    party = await make_client(jwks=JWKS, introspection_encrypted_response_alg="RSA-OAEP")
    response = await _introspect(party, "x", INTROSPECTION)
    claims = await _verified(_decrypt(response.text, "RSA-OAEP", "A128CBC-HS256"), "token-introspection+jwt")
    assert claims["token_introspection"] == {"active": False}
    assert (await _introspect(party, "x", None)).json() == {"active": False}


async def test_without_a_usable_key_nothing_is_sent(browser: Browser, make_client: MakeClient, alice: User) -> None:
    """An error, in place of a response that anyone can read. The key was replaced after the registration."""
    party = await make_client(
        jwks=JWKS,
        skip_consent=True,
        userinfo_signed_response_alg="RS256",
        userinfo_encrypted_response_alg="ECDH-ES",
        introspection_encrypted_response_alg="ECDH-ES",
    )
    access_token = (await party.tokens(browser, alice.email))["access_token"]
    only_rsa = {"jwks": {"keys": JWKS["keys"][1:]}, "id_token_encrypted_response_alg": "ECDH-ES"}
    async with change():
        assert await repository.update_metadata(party.client_id, only_rsa)
    async with asyncio.timeout(30):
        while (await party.userinfo(access_token)).status_code == 200:
            await asyncio.sleep(0.02)
    code = await party.sign_in(browser, alice.email)
    answers = [
        await party.userinfo(access_token),
        await party.post("/introspect", {"Accept": INTROSPECTION}, token=access_token),
        await party.redeem(code),
    ]
    for refused in answers:
        assert refused.status_code == 400
        assert refused.json()["error"] == "invalid_request"
        assert "no key for ECDH-ES" in refused.json()["error_description"]
        assert not {"id_token", "access_token"} & set(refused.json())
    # The code is not used up.
    async with change():
        assert await repository.update_metadata(party.client_id, {"jwks": JWKS})
    async with asyncio.timeout(30):
        while (again := await party.redeem(code)).status_code != 200:
            await asyncio.sleep(0.02)
    assert _decrypt(again.json()["id_token"], "ECDH-ES", "A128CBC-HS256")


async def test_keys_at_a_uri(browser: Browser, make_client: MakeClient, alice: User) -> None:
    """They are fetched; while they cannot be, nothing is sent (RFC 7591 section 2)."""
    heads: list[bytes] = []
    async with serving() as serve:
        port = await serve(answer(json.dumps(JWKS).encode(), heads=heads))
        party = await make_client(
            jwks_uri=f"http://127.0.0.1:{port}/jwks",
            id_token_encrypted_response_alg="ECDH-ES",
            skip_consent=True,
        )
        tokens = await party.tokens(browser, alice.email)
    assert (await _verified(_decrypt(tokens["id_token"], "ECDH-ES", "A128CBC-HS256")))["sub"] == str(alice.id)
    assert [head.split()[1] for head in heads] == [b"/jwks"]
    # The keys are in the cache, and their server is gone.
    assert (await party.refresh(tokens["refresh_token"])).status_code == 200
    gone = await make_client(
        jwks_uri=f"http://127.0.0.1:{port}/gone",
        id_token_encrypted_response_alg="ECDH-ES",
        grant_types=["authorization_code", "client_credentials"],
        skip_consent=True,
    )
    refused = await gone.redeem(await gone.sign_in(browser, alice.email))
    assert (refused.status_code, refused.json()["error"]) == (503, "temporarily_unavailable")
    assert "id_token" not in refused.json()
    # A grant without an ID token needs no key.
    assert (await gone.post("/token", grant_type="client_credentials", scope="")).status_code == 200


async def _names_user(browser: Browser, party: RelyingParty, hint: str) -> bool:
    answer = await party.authorize(browser, prompt="none", id_token_hint=hint)
    assert isinstance(answer, Redirect)
    return "code" in answer.parameters


async def test_one_kind_of_jwt_is_not_taken_for_another(browser: Browser, make_client: MakeClient, alice: User) -> None:
    """RFC 8725 section 3.11: as a hint, as an access token, as a token to introspect."""
    party = await make_client(userinfo_signed_response_alg="RS256", skip_consent=True)
    tokens = await party.tokens(browser, alice.email)
    userinfo = (await party.userinfo(tokens["access_token"])).text
    introspection = (await _introspect(party, tokens["access_token"], INTROSPECTION)).text
    response = await party.authorize(browser, response_mode="jwt")
    assert isinstance(response, Redirect)
    jarm = response.parameters["response"]
    assert await _names_user(browser, party, tokens["id_token"])
    for token in (userinfo, introspection, jarm):
        assert not await _names_user(browser, party, token)
        assert (await party.userinfo(token)).status_code == 401
        assert await party.introspect(token) == {"active": False}
        assert "client_id" not in claims_of(token)


@pytest.mark.usefixtures("db")
@pytest.mark.parametrize(
    "metadata",
    [
        {"userinfo_signed_response_alg": "none"},
        {"userinfo_signed_response_alg": "HS256"},
        {"introspection_signed_response_alg": "none"},
        {"authorization_signed_response_alg": "none"},
        {"authorization_signed_response_alg": "RS1"},
        {"userinfo_encrypted_response_alg": "ECDH-ES", "jwks": JWKS},
    ],
)
async def test_what_cannot_be_registered(metadata: dict[str, Any]) -> None:
    with pytest.raises(OAuthError, match=r"signed_response_alg") as refused:
        await register_client(client_name="C", redirect_uris=["https://c.example/cb"], **metadata)
    assert refused.value.code == "invalid_client_metadata"
