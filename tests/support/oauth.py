"""A small relying party, for tests of the protocol."""

import asyncio
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import httpx

from idp.oauth.clients.registration import register_client
from tests.support.browser import Browser, Page, Redirect
from tests.support.server import TLS

PASSWORD = "correct horse battery staple"
REDIRECT_URI = "https://app.example.com/callback"


def pkce() -> tuple[str, str]:
    """Return a verifier and its S256 challenge."""
    verifier = secrets.token_urlsafe(32)
    return verifier, urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()


@dataclass
class RelyingParty:
    """A client of the server under test."""

    issuer: str
    http: httpx.AsyncClient
    client_id: str
    client_secret: str | None = None
    #: client_secret_post in place of client_secret_basic.
    secret_in_body: bool = False
    redirect_uri: str = REDIRECT_URI
    scope: str = "openid profile email"
    verifier: str = field(default_factory=lambda: pkce()[0])

    def parameters(self, **changes: str | None) -> dict[str, str]:
        """Return the parameters of an authorization request. A change to None omits a parameter."""
        challenge = urlsafe_b64encode(sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        values: dict[str, str | None] = {
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "response_type": "code",
            "scope": self.scope,
            "state": "the-state",
            "nonce": "the-nonce",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return {name: value for name, value in (values | changes).items() if value is not None}

    async def authorize(self, browser: Browser, **changes: str | None) -> Page | Redirect:
        return await browser.get("/authorize", **self.parameters(**changes))

    async def push(self, **changes: str | None) -> str:
        """Push the request of :meth:`authorize`. Returns its ``request_uri``."""
        response = await self.post("/par", **self.parameters(**changes))
        assert response.status_code == 201, response.text
        return str(response.json()["request_uri"])

    async def sign_in(self, browser: Browser, email: str, password: str = PASSWORD, **changes: str | None) -> str:
        """Complete the whole sign-in, with consent if required. Returns the code."""
        answer = await self.authorize(browser, **changes)
        if isinstance(answer, Page) and "login-submit" in answer.ids:
            answer = await browser.sign_in(answer, email, password)
        if isinstance(answer, Page) and "consent-allow" in answer.ids:
            answer = await browser.submit(answer, "consent-allow")
        assert isinstance(answer, Redirect), answer.text
        assert "code" in answer.parameters, answer.location
        return answer.parameters["code"]

    async def post(self, path: str, headers: dict[str, str] | None = None, **form: str | None) -> httpx.Response:
        """Call an endpoint with this client's authentication: Basic, or client_id alone for a public client."""
        data = {name: value for name, value in form.items() if value is not None}
        if self.client_secret is None:
            data = {"client_id": self.client_id} | data
            return await self.http.post(f"{self.issuer}{path}", data=data, headers=headers)
        if self.secret_in_body:
            data = {"client_id": self.client_id, "client_secret": self.client_secret} | data
            return await self.http.post(f"{self.issuer}{path}", data=data, headers=headers)
        auth = httpx.BasicAuth(self.client_id, self.client_secret)
        return await self.http.post(f"{self.issuer}{path}", data=data, auth=auth, headers=headers)

    async def redeem(self, code: str, headers: dict[str, str] | None = None, **changes: str | None) -> httpx.Response:
        form: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": self.verifier,
        }
        return await self.post("/token", headers, **(form | changes))

    async def refresh(
        self, refresh_token: str, headers: dict[str, str] | None = None, **changes: str | None
    ) -> httpx.Response:
        form: dict[str, str | None] = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        return await self.post("/token", headers, **(form | changes))

    async def tokens(self, browser: Browser, email: str, **changes: str | None) -> dict[str, Any]:
        """Sign in and redeem the code."""
        response = await self.redeem(await self.sign_in(browser, email, **changes))
        assert response.status_code == 200, response.text
        tokens: dict[str, Any] = response.json()
        return tokens

    async def userinfo(self, access_token: str) -> httpx.Response:
        return await self.http.get(f"{self.issuer}/userinfo", headers={"Authorization": f"Bearer {access_token}"})

    async def introspect(self, token: str) -> dict[str, Any]:
        response = await self.post("/introspect", token=token)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer


async def until_settled(issuer: str) -> None:
    """Wait until a server has loaded all changes that were announced before, of clients and of anything else.

    It loads clients before most other records. When it knows of a later client, it has loaded the others too.
    """
    async with httpx.AsyncClient(timeout=30, verify=TLS) as http:
        for _ in range(2):
            await until_current(RelyingParty(issuer, http, ""))


async def until_current(party: RelyingParty) -> None:
    """Wait until the server knows the changes of clients that were committed before: it loads them together."""
    client, secret = await register_client(client_name="Marker", redirect_uris=["https://marker.example/cb"])
    marker = RelyingParty(party.issuer, party.http, client.client_id, secret)
    async with asyncio.timeout(30):
        while (await marker.post("/token", grant_type="none-such")).json()["error"] == "invalid_client":
            await asyncio.sleep(0.01)
