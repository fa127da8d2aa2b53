"""No secret is ever recorded: flows of all kinds are run with known secrets, and the table is searched for them."""

import secrets
import time
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any

import httpx

from idp import ids
from idp.accounts.tables import User
from idp.infra.db.engine import fetch
from idp.keys import jose
from idp.oauth.clients.authentication.assertions import ASSERTION_TYPE
from tests.conftest import MakeClient
from tests.support import assertions
from tests.support.browser import Browser, Redirect, as_page, open_browser
from tests.support.dpop import DPoPKey
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD, RelyingParty, until_current
from tests.support.server import Server
from tests.support.tokens import signed
from tests.support.traces import recorded

#: Shorter ones would be found by chance: they are looked for in the steps of the user alone.
SHORTEST = 12
ID = "x-request-id"


def spellings(secret: str) -> set[str]:
    """A secret, and its hash as text of each kind."""
    digest = sha256(secret.encode()).digest()
    return {secret, digest.hex(), urlsafe_b64encode(digest).decode().rstrip("="), ids.digest(secret).hex()}


async def _of_a_sign_in(browser: Browser, client: RelyingParty, user: User, mailbox: Mailbox) -> dict[str, str]:
    """Sign in with a code by mail after a wrong password. Returns the secrets."""
    state, nonce, wrong = (secrets.token_urlsafe(24) for _ in range(3))
    page = as_page(await client.authorize(browser, state=state, nonce=nonce, login_hint=user.email))
    flow = page.path
    page = as_page(await browser.sign_in(page, user.email, wrong))
    page = as_page(await browser.ask_for_code(page, user.email))
    code = (await mailbox.next(user.email)).code
    page = as_page(await browser.submit(page, "code-submit", code="000000" if code != "000000" else "111111"))
    page = as_page(await browser.submit(page, "code-submit", code=code))
    answer = await browser.submit(page, "consent-allow")
    assert isinstance(answer, Redirect)
    found = {"state": state, "nonce": nonce, "wrong password": wrong, "code by mail": code, "flow": flow[7:]}
    found |= {"code": answer.parameters["code"], "password": PASSWORD, "verifier": client.verifier}
    return found | {f"cookie {name}": value for name, value in browser.cookies.items()}


async def _of_token_requests(client: RelyingParty, code: str) -> dict[str, str]:
    """Redeem a code and use its tokens, rightly and wrongly. Returns the secrets."""
    verifier, wrong_secret = secrets.token_urlsafe(40), secrets.token_urlsafe(40)
    await client.redeem(code, code_verifier=verifier)
    uri = secrets.token_urlsafe(24)
    await client.redeem(code, redirect_uri=f"https://elsewhere.example/?token={uri}#{uri}")
    tokens: dict[str, Any] = (await client.redeem(code)).json()
    await client.redeem(code)
    await client.refresh(tokens["refresh_token"])
    await client.refresh(tokens["refresh_token"] + "x")
    await client.userinfo(tokens["access_token"])
    await client.userinfo(tokens["access_token"] + "x")
    auth = (client.client_id, wrong_secret)
    await client.http.post(f"{client.issuer}/token", data={"grant_type": "client_credentials"}, auth=auth)
    await client.post("/revoke", token=tokens["access_token"])
    names = ("access_token", "refresh_token", "id_token")
    found = {"wrong verifier": verifier, "wrong secret": wrong_secret, "in a URI": uri} | {n: tokens[n] for n in names}
    found |= {f"signature of {name}": tokens[name].rpartition(".")[2] for name in names}
    return found | {"client secret": client.client_secret or ""}


async def _of_proofs(client: RelyingParty, http: httpx.AsyncClient) -> dict[str, str]:
    """Present assertions and proofs that are refused. Returns the secrets."""
    key, dpop = jose.generate("ES256"), DPoPKey()
    bank = await assertions.register_bank(jwks={"keys": [key.public_jwk]})
    await until_current(client)
    claims = assertions.claims(bank.client_id, aud="https://elsewhere.example", exp=int(time.time()) - 60)
    assertion = signed(key, {"alg": "ES256"}, claims)
    form = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
    await http.post(f"{client.issuer}/token", data=form)
    secret = secrets.token_urlsafe(24)
    proof = dpop.proof("POST", f"https://elsewhere.example/token?secret={secret}")
    await client.redeem("no-such-code", {"DPoP": proof})
    return {"assertion": assertion, "jti": claims["jti"], "proof": proof, "in htu": secret}


async def test_no_secret_is_recorded(
    server: Server, browser: Browser, make_client: MakeClient, alice: User, mailbox: Mailbox, http: httpx.AsyncClient
) -> None:
    client = await make_client(scope="openid profile email offline_access")
    found = await _of_a_sign_in(browser, client, alice, mailbox)
    found |= await _of_token_requests(client, found["code"])
    found |= await _of_proofs(client, http)
    request_uri = await client.push(state=found["state"])
    async with open_browser(server.issuer) as other:
        await other.get("/authorize", client_id=client.client_id, request_uri=request_uri)
        uri = f"https://{found['in a URI']}@app.example.com/elsewhere?x={found['in a URI']}"
        await client.authorize(other, redirect_uri=uri, id_token_hint=found["id_token"])
        last = as_page(await other.get(f"/authorize/{found['flow']}"))
    found["request_uri"] = request_uri
    await recorded(last.response.headers[ID])
    text = "\n".join(row["text"] for row in await fetch("SELECT t::text AS text FROM trace AS t"))
    assert client.client_id in text
    assert str(alice.id) in text
    long = {name: secret for name, secret in found.items() if len(secret) >= SHORTEST}
    assert found.keys() - long.keys() == {"code by mail"}
    assert {name for name, secret in long.items() if any(each in text for each in spellings(secret))} == set()
    own = "\n".join(row["steps"] for row in await fetch("SELECT steps FROM trace WHERE user_id = $1", alice.id))
    assert "email_code" in own
    assert found["code by mail"] not in own
