"""Back-channel logout, as its test plan requires, with the receiver of docs/logout.md."""

import asyncio
import re
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl
from wsgiref.simple_server import WSGIRequestHandler, make_server

import httpx
import jwt
import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import fetch
from idp.oauth.logout.backchannel import EVENT
from tests.conformance.conftest import ALL_SCOPES
from tests.conftest import MakeClient
from tests.support.browser import Browser, Redirect
from tests.support.oauth import RelyingParty
from tests.support.receivers import Received, Receivers
from tests.support.server import Server
from tests.support.tokens import claims_of

URI = "https://app.example.com/signed-out"
STATE = secrets.token_urlsafe(96)
DEAD = "SELECT FROM delivery WHERE stream = $1 AND state = 'dead' AND attempts = 1"
DOCUMENT = Path(__file__).parents[2] / "docs" / "logout.md"


@pytest.fixture
async def receivers() -> Any:
    async with Receivers() as receivers:
        yield receivers


@pytest.fixture
async def rp(make_client: MakeClient, receivers: Receivers) -> RelyingParty:
    return await make_client(
        scope=ALL_SCOPES,
        require_pkce=False,
        skip_consent=True,
        post_logout_redirect_uris=[URI],
        backchannel_logout_uri=receivers.url("logout?kept=1"),
        backchannel_logout_session_required=True,
    )


async def requests(receivers: Receivers, number: int = 1) -> list[Received]:
    """Wait for requests, and return all."""
    async with asyncio.timeout(20):
        while len(receivers.received) < number:
            receivers.entered.clear()
            await receivers.entered.wait()
    return receivers.received


def receiver(issuer: str, client_id: str) -> dict[str, Any]:
    """Return the names of the receiver in the document."""
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    for example, value in (("https://id.example.com", issuer), ("my-app", client_id)):
        assert example in code
        code = code.replace(example, value)
    names: dict[str, Any] = {}
    exec(code, names)
    return names


async def test_discovery(server: Server, http: httpx.AsyncClient) -> None:
    metadata = (await http.get(f"{server.issuer}/.well-known/openid-configuration")).json()
    assert metadata["backchannel_logout_supported"] is True
    assert metadata["backchannel_logout_session_supported"] is True


async def test_rp_initiated_logout(browser: Browser, rp: RelyingParty, person: User, receivers: Receivers) -> None:
    """oidcc-backchannel-rp-initiated-logout: a POST of the logout_token alone, around the redirect"""
    tokens = await rp.tokens(browser, person.email)
    hint = claims_of(tokens["id_token"])
    started = time.time()
    answer = await browser.get("/logout", id_token_hint=tokens["id_token"], post_logout_redirect_uri=URI, state=STATE)
    assert isinstance(answer, Redirect)
    assert answer.parameters == {"state": STATE}
    (request,) = await requests(receivers)
    # Whoever waits for the next poll instead of being woken needs seconds on a busy machine.
    assert time.time() - started < 10
    assert request.path == "logout?kept=1"
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    ((name, token),) = parse_qsl(request.body.decode(), strict_parsing=True)
    assert name == "logout_token"
    assert jwt.get_unverified_header(token)["typ"] == "logout+jwt"
    claims = await asyncio.to_thread(receiver(rp.issuer, rp.client_id)["read_logout_token"], token)
    assert claims.keys() == {"iss", "sub", "aud", "iat", "exp", "jti", "events", "sid"}
    assert claims["events"] == {EVENT: {}}
    assert (claims["iss"], claims["aud"]) == (rp.issuer, rp.client_id)
    assert (claims["sid"], claims["sub"]) == (hint["sid"], hint["sub"])
    assert 0 < claims["exp"] - claims["iat"] <= 120
    silent = await rp.authorize(browser, prompt="none")
    assert isinstance(silent, Redirect)
    assert silent.parameters["error"] == "login_required"
    assert len(receivers.received) == 1


async def test_a_refused_token_is_not_sent_again(
    browser: Browser, rp: RelyingParty, person: User, receivers: Receivers
) -> None:
    receivers.behaviours["logout?kept=1"] = "400 |invalid_request"
    tokens = await rp.tokens(browser, person.email)
    await browser.get("/logout", id_token_hint=tokens["id_token"])
    await requests(receivers)
    async with asyncio.timeout(20):
        while not await fetch(DEAD, f"client:{rp.client_id}"):
            await asyncio.sleep(0.05)
    assert len(receivers.received) == 1


@pytest.fixture
def wsgi() -> Iterator[Any]:
    """Serves the WSGI application of the document."""

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    started = []

    def serve(application: Any) -> str:
        served = make_server("127.0.0.1", 0, application, handler_class=Quiet)
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        started.append((served, thread))
        return f"http://127.0.0.1:{served.server_port}/backchannel-logout"

    yield serve
    for served, thread in started:
        served.shutdown()
        thread.join()
        served.server_close()


async def test_the_receiver_of_the_document(
    browser: Browser, make_client: MakeClient, person: User, wsgi: Any, server: Server, http: httpx.AsyncClient
) -> None:
    names: dict[str, Any] = {}

    def application(environ: Any, start_response: Any) -> Any:
        return names["backchannel_logout"](environ, start_response)

    url = wsgi(application)
    rp = await make_client(scope=ALL_SCOPES, require_pkce=False, skip_consent=True, backchannel_logout_uri=url)
    names |= receiver(rp.issuer, rp.client_id)
    tokens = await rp.tokens(browser, person.email)
    sid = claims_of(tokens["id_token"])["sid"]
    names["SESSIONS"] |= {sid: "of this user", "other": "of another"}
    # An ID token and other nonsense are refused.
    for wrong in (tokens["id_token"], tokens["access_token"], "x", ""):
        refused = await http.post(url, data={"logout_token": wrong})
        assert refused.status_code == 400, wrong
    assert sid in names["SESSIONS"]
    await browser.get("/logout", id_token_hint=tokens["id_token"])
    async with asyncio.timeout(20):
        while sid in names["SESSIONS"]:
            await asyncio.sleep(0.05)
    assert names["SESSIONS"] == {"other": "of another"}
