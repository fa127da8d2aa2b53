"""Clients of FAPI 2.0: they authenticate by a key or a certificate, push their requests and prove a key."""

from dataclasses import dataclass, field
from typing import Any

import httpx
from cryptography import x509

from idp.keys import jose
from idp.keys.key_set import key_set
from tests.support.assertions import ClientKeys, claims, form
from tests.support.browser import Browser, Page, Redirect
from tests.support.certificates import headers as presenting
from tests.support.dpop import DPoPKey
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.request_objects import request_object


@dataclass
class FapiClient(RelyingParty):
    """A client with the profile.

    Attributes:
        keys: sign its assertions.
        certificate: what it presents; it authenticates by it, unless it ``asserts``.
        dpop: the key of its proofs; None: its tokens are bound to its certificate.
        signs: the algorithm of its request objects; None: it sends parameters.
    """

    keys: ClientKeys = field(default_factory=ClientKeys)
    certificate: x509.Certificate | None = None
    asserts: bool = True
    dpop: DPoPKey | None = field(default_factory=DPoPKey)
    signs: str | None = None

    def credentials(self, **changes: Any) -> dict[str, str]:
        """Return the parameters that authenticate it. The changes are of the claims of an assertion."""
        if not self.asserts:
            return {"client_id": self.client_id}
        return form(self.keys.sign(claims(self.client_id, **{"aud": self.issuer} | changes)))

    def proof(self, method: str, path: str, token: str | None = None, **changes: Any) -> dict[str, str]:
        """Return the headers that prove its key, with ``Authorization`` if there is a token."""
        sent = {} if self.certificate is None else presenting(self.certificate)
        if self.dpop is not None:
            return sent | self.dpop(method, f"{self.issuer}{path}", token, **changes)
        return sent | ({} if token is None else {"Authorization": f"Bearer {token}"})

    async def post(self, path: str, headers: dict[str, str] | None = None, **form: str | None) -> httpx.Response:
        """Call an endpoint as this client, with a fresh proof unless there are ``headers``."""
        data = self.credentials() | form
        return await self.send(path, {name: value for name, value in data.items() if value is not None}, headers)

    async def send(self, path: str, data: dict[str, str], headers: dict[str, str] | None = None) -> httpx.Response:
        """Call an endpoint without credentials."""
        sent = self.proof("POST", path) if headers is None else headers
        return await self.http.post(f"{self.issuer}{path}", data=data, headers=sent)

    def parameters(self, **changes: str | None) -> dict[str, str]:
        mode = {} if self.signs is None else {"response_mode": "jwt"}
        return super().parameters(**mode | changes)

    def pushed(self, **changes: str | None) -> dict[str, str]:
        """Return what it pushes."""
        if self.signs is None:
            return self.parameters(**changes)
        return {"request": request_object(self, self.signs, **{"response_mode": "jwt"} | changes)}

    async def push(self, **changes: str | None) -> str:
        response = await self.post("/par", **self.pushed(**changes))
        assert response.status_code == 201, response.text
        return str(response.json()["request_uri"])

    async def open(self, browser: Browser, request_uri: str, **outside: str) -> Page | Redirect:
        """Open the authorization endpoint with a pushed request."""
        answer = await browser.get("/authorize", client_id=self.client_id, request_uri=request_uri, **outside)
        return await self.read(answer)

    async def authorize(self, browser: Browser, **changes: str | None) -> Page | Redirect:
        return await self.open(browser, await self.push(**changes))

    async def read(self, answer: Page | Redirect) -> Page | Redirect:
        """Verify a response that is a JWT, and put its claims in the place of its one parameter."""
        if isinstance(answer, Redirect) and "response" in answer.parameters:
            assert answer.parameters.keys() == {"response"}
            await key_set.load()
            found = jose.verify(answer.parameters["response"], key_set.verification(), typ="JWT")
            jose.check_times(found)
            assert found.pop("aud") == self.client_id
            assert isinstance(found.pop("exp"), int)
            answer.parameters = found
        return answer

    async def sign_in(self, browser: Browser, email: str, password: str = "", **changes: str | None) -> str:
        answer = await self.finish(browser, await self.authorize(browser, **changes), email)
        assert isinstance(answer, Redirect), answer.text
        assert "code" in answer.parameters, answer.location
        return answer.parameters["code"]

    async def finish(self, browser: Browser, answer: Page | Redirect, email: str) -> Page | Redirect:
        """Sign in, if the answer is the page for it."""
        if isinstance(answer, Page) and "login-submit" in answer.ids:
            return await self.read(await browser.sign_in(answer, email, PASSWORD))
        return answer

    async def resource(self, path: str, token: str, headers: dict[str, str] | None = None) -> httpx.Response:
        """Call a protected resource."""
        sent = self.proof("GET", path, token) if headers is None else headers
        return await self.http.get(f"{self.issuer}{path}", headers=sent)

    async def userinfo(self, access_token: str) -> httpx.Response:
        return await self.resource("/userinfo", access_token)
