"""Row 9: a repeated parameter is ambiguous, so the request is refused."""

import secrets
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import jwt
import pytest

from idp.accounts.tables import User
from idp.errors import OAuthError
from idp.oauth.clients.registration import register_client, register_resource_server
from idp.oauth.clients.uris import RESPONSE_PARAMETERS
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page
from tests.support.hostile import EVIL, assert_refused_here
from tests.support.oauth import REDIRECT_URI, RelyingParty

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def doubled(parameters: dict[str, str]) -> list[str]:
    """The parameters form-encoded, each in turn twice: with the same value, another, none, or its name encoded."""
    texts, whole = [], urlencode(parameters)
    for name, value in parameters.items():
        other = f"https://{EVIL}/callback" if name.endswith("uri") else "other"
        encoded = "".join(f"%{byte:02X}" for byte in name.encode())
        texts += [
            f"{whole}&{urlencode({name: value})}",
            f"{whole}&{name}={quote(other)}",
            f"{name}={quote(other)}&{whole}",
            f"{whole}&{name}=",
            f"{name}&{whole}",
            f"{whole}&{encoded}={quote(other)}",
        ]
    return texts


async def test_09_authorization(client: RelyingParty) -> None:
    every = client.parameters(
        response_mode="form_post", prompt="none", max_age="1", login_hint="a", claims="{}", acr_values="1",
        id_token_hint="x", ui_locales="en", display="page", unknown="x",
    )  # fmt: skip
    for text in doubled(every):
        page = assert_refused_here(await client.http.get(f"{client.issuer}/authorize?{text}"))
        assert page.error == "invalid_request"
        page = assert_refused_here(await client.http.post(f"{client.issuer}/authorize", content=text, headers=FORM))
        assert page.error == "invalid_request"


async def assert_each_refused(client: RelyingParty, path: str, **parameters: str) -> None:
    auth = httpx.BasicAuth(client.client_id, client.client_secret or "")
    for text in doubled(parameters | {"client_id": client.client_id}):
        response = await client.http.post(f"{client.issuer}{path}", content=text, headers=FORM, auth=auth)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_request"), text


async def test_09_pushed_authorization(client: RelyingParty) -> None:
    await assert_each_refused(client, "/par", **client.parameters(prompt="none", claims="{}"))


async def test_09_token_introspection_and_revocation(client: RelyingParty, browser: Browser, alice: User) -> None:
    """Refused before anything is done: afterwards the code and the tokens are as good as before."""
    code = await client.sign_in(browser, alice.email)
    redemption = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": REDIRECT_URI,
        "code_verifier": client.verifier,
    }
    await assert_each_refused(client, "/token", **redemption)
    response = await client.redeem(code)
    assert response.status_code == 200
    tokens = response.json()

    refresh = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], "scope": "openid"}
    await assert_each_refused(client, "/token", **refresh)
    await assert_each_refused(client, "/introspect", token=tokens["access_token"], token_type_hint="access_token")
    await assert_each_refused(client, "/revoke", token=tokens["refresh_token"], token_type_hint="refresh_token")
    assert (await client.introspect(tokens["access_token"]))["active"] is True
    assert (await client.refresh(tokens["refresh_token"])).status_code == 200


async def test_09_two_secrets_in_the_body(client: RelyingParty) -> None:
    """No guessing of many secrets by one request."""
    for text in (
        f"client_secret={client.client_secret}&client_secret=x",
        f"client_secret=x&client_secret={client.client_secret}",
    ):
        body = f"grant_type=client_credentials&client_id={client.client_id}&{text}"
        response = await client.http.post(f"{client.issuer}/token", content=body, headers=FORM)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


async def test_09_userinfo(client: RelyingParty, browser: Browser, alice: User) -> None:
    token = (await client.tokens(browser, alice.email))["access_token"]
    for text in doubled({"access_token": token}):
        response = await client.http.post(f"{client.issuer}/userinfo", content=text, headers=FORM)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    both = await client.http.post(
        f"{client.issuer}/userinfo", data={"access_token": token}, headers={"Authorization": f"Bearer {token}"}
    )
    assert (both.status_code, both.json()["error"]) == (400, "invalid_request")
    assert (await client.http.get(f"{client.issuer}/userinfo", params={"access_token": token})).status_code == 401
    assert (await client.userinfo(token)).status_code == 200


async def test_09_log_out(make_client: MakeClient, browser: Browser, alice: User) -> None:
    client = await make_client(post_logout_redirect_uris=["https://app.example.com/bye"])
    hint = (await client.tokens(browser, alice.email))["id_token"]
    parameters = {
        "id_token_hint": hint, "client_id": client.client_id, "state": "x",
        "post_logout_redirect_uri": "https://app.example.com/bye",
    }  # fmt: skip
    for text in doubled(parameters):
        assert_refused_here(await browser.client.get(f"{browser.issuer}/logout?{text}"))
        assert_refused_here(await browser.client.post(f"{browser.issuer}/logout", content=text, headers=FORM))
    answer = await client.authorize(browser, prompt="none")
    assert "code" in answer.parameters, "a refused request signed a user out"


async def test_09_our_own_forms(client: RelyingParty, browser: Browser, alice: User) -> None:
    """Sign-in and consent: an allow and a deny, two passwords, two tokens."""
    page = await client.authorize(browser)
    assert isinstance(page, Page)
    fields = {"username": alice.email, "password": "correct horse battery staple", "action": "login"}
    for button, changes in (("login-submit", fields), ("consent-allow", {"action": "allow"})):
        form = page.forms[0]
        for text in doubled(form.fields | changes):
            answer = await browser.client.post(
                f"{browser.issuer}{form.action}", content=text, headers=FORM | {"Origin": browser.issuer}
            )
            assert_refused_here(answer)
        page = await browser.submit(page, button, **changes)
    assert "code" in page.parameters


async def test_09_body_and_query_are_not_mixed(client: RelyingParty, browser: Browser, alice: User) -> None:
    """A POST is read from its body alone: what its URL adds changes nothing and fills nothing in."""
    evil = urlencode({"redirect_uri": f"https://{EVIL}/callback", "response_type": "token", "scope": "admin"})
    answer = await browser.client.post(f"{browser.issuer}/authorize?{evil}", data=client.parameters())
    assert answer.headers["location"].startswith("/authorize/")
    split = client.parameters()
    uri = split.pop("redirect_uri")
    query = urlencode({"redirect_uri": uri})
    assert_refused_here(await browser.client.post(f"{browser.issuer}/authorize?{query}", data=split))

    code = await client.sign_in(browser, alice.email)
    body = {"grant_type": "authorization_code", "code": code, "redirect_uri": uri}
    auth = httpx.BasicAuth(client.client_id, client.client_secret or "")
    url = f"{client.issuer}/token?{urlencode({'code_verifier': client.verifier})}"
    response = await client.http.post(url, data=body, auth=auth)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    assert (await client.redeem(code)).status_code == 200


async def test_09_names_that_others_read_as_the_same(client: RelyingParty, browser: Browser, alice: User) -> None:
    """Brackets, dots, cases, spaces and semicolons make other, unknown parameters."""
    await client.sign_in(browser, alice.email)
    evil = quote(f"https://{EVIL}/callback")
    text = urlencode(client.parameters(prompt="none"))
    for extra in ("redirect_uri[]", "redirect_uri[0]", "redirect_uri.", "Redirect_Uri", "+redirect_uri",
                  "redirect_uri%20", "redirect-uri", "x=1;redirect_uri", "x;redirect_uri"):  # fmt: skip
        response = await browser.client.get(f"{browser.issuer}/authorize?{text}&{extra}={evil}")
        assert response.headers["location"].startswith(f"{REDIRECT_URI}?code="), extra


async def test_09_only_resource_may_be_repeated(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """RFC 8707 section 2; the control for all of the above."""
    apis = [f"https://api-{secrets.token_hex(4)}.example.com" for _ in range(2)]
    for api in apis:
        await register_resource_server(api, "API")
    client = await make_client(scope="email")
    text = urlencode([*client.parameters().items(), *(("resource", api) for api in apis)])
    page = await browser.get(f"/authorize?{text}")
    assert isinstance(page, Page)
    answer = await browser.submit(
        await browser.sign_in(page, alice.email, "correct horse battery staple"), "consent-allow"
    )
    tokens = (await client.redeem(answer.parameters["code"])).json()
    assert jwt.decode(tokens["access_token"], options={"verify_signature": False})["aud"] == apis


@pytest.mark.parametrize("name", sorted(RESPONSE_PARAMETERS))
async def test_09_a_redirect_uri_brings_no_parameter_of_ours(name: str, db: str) -> None:
    """Else a client could read the attacker's code, state or iss from its own address."""
    metadata: dict[str, Any] = {"client_name": "Polluted", "grant_types": ["authorization_code"]}
    encoded = "".join(f"%{byte:02x}" for byte in name.encode())
    for query in (f"{name}=x", f"a=b&{name}=x", f"{name}", f"{name}=", f"{encoded}=x", f"a=b;{name}=x", f"+{name}=x"):
        with pytest.raises(OAuthError, match="invalid_redirect_uri"):
            await register_client(**metadata, redirect_uris=[f"{REDIRECT_URI}?{query}"])
