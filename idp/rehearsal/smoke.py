"""Smoke flows at a server on a copy: what most clients do, with a client and a user that exist in the copy only."""

import asyncio
import base64
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import sha256
from html import unescape
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import msgspec

from idp import ids
from idp.accounts.users import create_user
from idp.errors import RemoteError
from idp.infra import foreign_json, outbound
from idp.infra.outbound import CallFailed, Observation
from idp.oauth.clients.registration import register_client
from idp.rehearsal.models import Flow
from idp.rehearsal.servers import RunningServer

REDIRECT_URI = "https://rehearsal.invalid/callback"
SCOPE = "openid email"
REQUEST_SECONDS = 15.0
#: Seconds within which a server must know a new client.
KNOWN_SECONDS = 30.0
MAX_REDIRECTS = 10

_NAVIGATION = '<meta http-equiv="refresh" content="0; url='


class _FlowFailedError(RemoteError):
    """A response was not the expected one. The text says which it was."""


class Account(msgspec.Struct, frozen=True):
    """A client and a user."""

    client_id: str
    client_secret: str
    email: str
    password: str


async def create_account() -> Account:
    """Create a client and a user, in the database of the engine."""
    email, password = f"rehearsal-{secrets.token_hex(4)}@example.com", ids.random_token()
    await create_user(email, password, email_verified=True)
    client, secret = await register_client(
        client_name="Rehearsal",
        redirect_uris=[REDIRECT_URI],
        grant_types=["authorization_code", "refresh_token", "client_credentials"],
        scope=SCOPE,
        skip_consent=True,
    )
    return Account(client.client_id, secret or "", email, password)


class _Page(HTMLParser):
    """Finds the fields of the form that has a password."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._forms: list[tuple[str, dict[str, str]]] = []
        self.feed(text)
        found = next((form for form in self._forms if "password" in form[1]), None)
        if found is None:
            raise _FlowFailedError("The page has no form for a password.")
        self.action, self.fields = found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._forms.append((values.get("action", ""), {}))
        elif tag == "input" and self._forms and "name" in values and values.get("type") != "checkbox":
            self._forms[-1][1][values["name"]] = values.get("value", "")


class Visitor:
    """A client of a server, and the browser of its user."""

    def __init__(self, server: RunningServer, account: Account) -> None:
        self.server, self.account = server, account
        self.metadata: dict[str, Any] = {}
        self.tokens: dict[str, Any] = {}
        self._cookies: dict[str, str] = {}

    async def _send(self, method: str, url: str, headers: dict[str, str], form: dict[str, str] | None) -> Observation:
        if form is not None:
            headers |= {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            return await outbound.observe(
                method,
                self.server.at(url),
                headers,
                urlencode(form or {}).encode(),
                own={self.server.origin},
                timeout_seconds=REQUEST_SECONDS,
            )
        except CallFailed as error:
            raise _FlowFailedError(f"{urlsplit(url).path} did not answer. {outbound.cause(error)}") from error

    async def _json(self, seen: Observation, what: str, status: int = 200) -> Any:
        if seen.status != status:
            raise _FlowFailedError(f"{what}: {seen.status} {_error_of(seen)}".rstrip())
        try:
            return foreign_json.decode(seen.body) if seen.body else {}
        except ValueError as error:
            raise _FlowFailedError(f"{what}: not JSON.") from error

    async def post(self, endpoint: str, status: int = 200, **form: str) -> Any:
        """Call an endpoint of the discovery document with the client's secret."""
        pair = f"{self.account.client_id}:{self.account.client_secret}"
        headers = {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        seen = await self._send("POST", self.metadata[endpoint], headers, form)
        return await self._json(seen, endpoint, status)

    async def discovery(self) -> None:
        """Read the discovery document."""
        url = f"{self.server.issuer}/.well-known/openid-configuration"
        self.metadata = await self._json(await self._send("GET", url, {}, None), "discovery")
        if self.metadata.get("issuer") != self.server.issuer:
            raise _FlowFailedError("The issuer is another one.")

    async def jwks(self) -> None:
        """Read the keys."""
        self._kids = await self._published()
        if not self._kids:
            raise _FlowFailedError("There is no key.")

    async def _published(self) -> set[str]:
        keys = await self._json(await self._send("GET", self.metadata["jwks_uri"], {}, None), "jwks_uri")
        return {key["kid"] for key in keys["keys"]}

    async def client_credentials(self) -> None:
        """Get a token for the client, once the server knows it, whose key is published."""
        deadline = time.monotonic() + KNOWN_SECONDS
        while True:
            try:
                answer = await self.post("token_endpoint", grant_type="client_credentials")
                break
            except _FlowFailedError as failure:
                if "invalid_client" not in str(failure) or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.2)
        await self._check_key(answer["access_token"])

    async def _check_key(self, token: str) -> None:
        head = token.partition(".")[0]
        kid = foreign_json.decode(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"]
        if kid not in self._kids:
            raise _FlowFailedError("The key of a token is not published.")

    async def sign_in(self) -> None:
        """Sign in by password, and redeem the code (PKCE)."""
        verifier, state = ids.random_token(), ids.random_token()
        challenge = base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        request = {
            "client_id": self.account.client_id, "redirect_uri": REDIRECT_URI, "response_type": "code", "scope": SCOPE,
            "state": state, "nonce": ids.random_token(), "code_challenge": challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        if self.metadata.get("require_pushed_authorization_requests"):
            pushed = await self.post("pushed_authorization_request_endpoint", 201, **request)
            request = {"client_id": self.account.client_id, "request_uri": pushed["request_uri"]}
        answer = await self._browse("GET", f"{self.metadata['authorization_endpoint']}?{urlencode(request)}")
        if answer.get("state") != state or "code" not in answer:
            raise _FlowFailedError(f"The client got {answer.get('error', 'another response')} instead of a code.")
        self.tokens = await self.post(
            "token_endpoint",
            grant_type="authorization_code",
            code=answer["code"],
            redirect_uri=REDIRECT_URI,
            code_verifier=verifier,
        )
        for name in ("access_token", "id_token"):
            await self._check_key(self.tokens[name])

    async def _browse(self, method: str, url: str, form: dict[str, str] | None = None) -> dict[str, str]:
        """Follow redirects, and fill in the sign-in page once. Returns the parameters that the client gets."""
        entered = False
        for _ in range(MAX_REDIRECTS):
            parts = urlsplit(url)
            if not url.startswith(self.server.issuer):
                return {name: values[0] for name, values in parse_qs(parts.query).items()}
            headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}
            if method == "POST":
                headers["Origin"] = f"{parts.scheme}://{parts.netloc}"
            seen = await self._send(method, url, headers, form)
            self._keep_cookies(seen)
            if (target := _target(seen)) is not None:
                method, url, form = "GET", urljoin(url, target), None
                continue
            if seen.status != 200 or entered:
                raise _FlowFailedError(f"The page {parts.path} is shown: {seen.status} {_error_of(seen)}".rstrip())
            page = _Page(seen.body.decode())
            entered, method, url = True, "POST", urljoin(url, page.action)
            form = page.fields | {"username": self.account.email, "password": self.account.password}
        raise _FlowFailedError("The server redirects in circles.")

    def _keep_cookies(self, seen: Observation) -> None:
        for header in seen.all("set-cookie"):
            for name, morsel in SimpleCookie(header).items():
                self._cookies[name] = morsel.value

    async def userinfo(self) -> None:
        """Read the claims of the user."""
        headers = {"Authorization": f"Bearer {self.tokens['access_token']}"}
        seen = await self._send("GET", self.metadata["userinfo_endpoint"], headers, None)
        if (await self._json(seen, "userinfo_endpoint")).get("email") != self.account.email:
            raise _FlowFailedError("Userinfo has another address.")

    async def refresh(self) -> None:
        """Rotate the refresh token."""
        used = self.tokens["refresh_token"]
        self.tokens = await self.post("token_endpoint", grant_type="refresh_token", refresh_token=used)
        if self.tokens["refresh_token"] == used:
            raise _FlowFailedError("The refresh token was not rotated.")

    async def introspect(self) -> None:
        """Introspect the access token."""
        if not (await self.post("introspection_endpoint", token=self.tokens["access_token"]))["active"]:
            raise _FlowFailedError("The access token is not active.")

    async def revoke(self) -> None:
        """Revoke the refresh token, which then cannot be used."""
        token = self.tokens["refresh_token"]
        await self.post("revocation_endpoint", token=token)
        await self.post("token_endpoint", 400, grant_type="refresh_token", refresh_token=token)


def _target(seen: Observation) -> str | None:
    """Return where a response sends the browser, by a redirect or by a page that navigates."""
    if 300 <= seen.status < 400:
        return seen.header("location")
    _, found, rest = seen.body.decode(errors="replace").partition(_NAVIGATION)
    return unescape(rest.partition('"')[0]) if found else None


def _error_of(seen: Observation) -> str:
    """Return the error code of a response."""
    try:
        return str(foreign_json.decode(seen.body).get("error", ""))
    except (ValueError, AttributeError):
        return ""


async def flows(visitors: list[Visitor]) -> AsyncIterator[Flow]:
    """Run the flows at each server, and those from one to the other. At a server, the first failure is the last."""
    sound = True
    for visitor in visitors:
        steps = (
            visitor.discovery, visitor.jwks, visitor.client_credentials, visitor.sign_in, visitor.userinfo,
            visitor.refresh, visitor.introspect,
        )  # fmt: skip
        for step in steps:
            flow = await _run(visitor.server.version, step.__name__, step)
            yield flow
            sound = sound and not flow.failure
            if flow.failure:
                break
    if not sound:
        return
    for giver, taker in zip(visitors, visitors[1:] + visitors[:1], strict=True):
        if giver is not taker:
            name = f"{giver.server.version} to {taker.server.version}"
            yield await _run(name, "introspect", lambda: _hand_over(giver, taker, Visitor.introspect))  # noqa: B023
            yield await _run(name, "refresh", lambda: _hand_over(giver, taker, Visitor.refresh))  # noqa: B023
    for visitor in visitors:
        yield await _run(visitor.server.version, "revoke", visitor.revoke)


async def _hand_over(giver: Visitor, taker: Visitor, step: Callable[[Visitor], Awaitable[None]]) -> None:
    """Take a step with the tokens of one server at the other, and give back what that issued."""
    own, taker.tokens = taker.tokens, giver.tokens
    try:
        await step(taker)
    finally:
        giver.tokens, taker.tokens = taker.tokens, own


async def _run(version: str, name: str, step: Callable[[], Awaitable[None]]) -> Flow:
    began, failure = time.monotonic(), ""
    try:
        await step()
    except _FlowFailedError as error:
        failure = str(error)
    except (KeyError, TypeError, ValueError) as error:
        # A response without a member that it must have.
        failure = f"The response is incomplete: {type(error).__name__}."
    return Flow(version, name.replace("_", " "), time.monotonic() - began, failure)
