"""The recorder follows a person through one sign-in, and says why something was refused."""

import base64
import json
import time
from collections.abc import Callable

import httpx
import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import execute, fetch
from idp.keys import jose
from idp.oauth import sign_out
from idp.oauth.clients.authentication.assertions import ASSERTION_TYPE
from idp.trace.reading import ShownRequest
from tests.conftest import MakeClient
from tests.support import assertions
from tests.support.access_policies import set_policy
from tests.support.browser import Browser, Redirect, as_page, open_browser
from tests.support.dpop import DPoPKey
from tests.support.oauth import PASSWORD, RelyingParty, until_current
from tests.support.server import Server
from tests.support.tokens import jti_of, signed
from tests.support.traces import fields, kinds, recorded, traced

#: The id of the request, which the error page shows.
ID = "x-request-id"


async def test_a_sign_in_is_one_flow(browser: Browser, client: RelyingParty, alice: User) -> None:
    """From the authorization request over pages, consent and code to the refusal of a token much later."""
    page = as_page(await client.authorize(browser, acr_values="1", scope="openid profile phone payments"))
    page = as_page(await browser.sign_in(page, alice.email, "not the password"))
    page = as_page(await browser.sign_in(page, alice.email, PASSWORD))
    answer = await browser.submit(page, "consent-allow")
    assert isinstance(answer, Redirect)
    response = await client.redeem(answer.parameters["code"])
    token = response.json()["refresh_token"]
    await client.refresh(token)
    jti = jti_of(token)
    await execute("UPDATE refresh_token SET rotated_at = rotated_at - interval '1 hour' WHERE jti = $1", jti)
    reused = await client.refresh(token)
    flow = await traced(reused.headers[ID])
    steps = [kind for request in flow for kind in kinds(request)]
    assert steps == [
        "authorization_requested", "scope_left_out", "no_session", "flow_started", "sign_in_needed",
        "step_refused", "step_taken", "signed_in",
        "session_found", "consent_needed",
        "consent_given",
        "session_found", "consent_not_needed", "code_issued",
        "client_authenticated", "code_redeemed",
        "client_authenticated", "refresh_token_examined",
    ]  # fmt: skip
    assert {request.trace_id for request in flow[:-1]} == {flow[0].request_id}
    assert {request.client_id for request in flow} <= {client.client_id, None}
    assert flow[-1].reason == "reused"
    assert flow[-1].user_id == alice.id
    assert fields(flow[0], "authorization_requested")["scope"] == ["openid", "profile", "phone", "payments"]
    assert fields(flow[0], "no_session") == {"why": "the browser sent no session cookie"}
    refused = next(request for request in flow if "step_refused" in kinds(request))
    assert (refused.outcome, refused.reason) == ("refused", "wrong_password")
    assert fields(flow[-1], "refresh_token_examined").keys() >= {"issued_at", "rotated_at", "family_revoked_because"}
    # The same flow by each of its ids.
    assert [request.request_id for request in await traced(flow[0].request_id)] == [
        request.request_id for request in flow
    ]


async def test_a_redirect_uri_that_is_not_registered(browser: Browser, client: RelyingParty) -> None:
    page = as_page(await client.authorize(browser, redirect_uri="https://app.example.com/callback/?token=very-secret"))
    assert page.response.headers[ID] in page.text
    request = await recorded(page.response.headers[ID])
    assert (request.outcome, request.reason, request.client_id) == ("refused", "wrong_redirect_uri", client.client_id)
    assert fields(request, "redirect_uri_mismatch") == {
        "received": "https://app.example.com/callback/?token=…",
        "nearest_registered": "https://app.example.com/callback",
        "differs_in": ["trailing slash", "query"],
        "registered_uris": 1,
    }
    assert "exactly" in request.mend


async def test_a_client_that_is_not_registered(browser: Browser, client: RelyingParty) -> None:
    page = as_page(await client.authorize(browser, client_id="no-such-client"))
    request = await recorded(page.response.headers[ID])
    assert (request.reason, request.client_id) == ("unknown_client", None)


async def test_a_browser_without_the_cookie(server: Server, browser: Browser, client: RelyingParty) -> None:
    """The page of the flow, in a browser that kept none of its cookies, or keeps those of another flow."""
    started = as_page(await client.authorize(browser))
    async with open_browser(server.issuer) as other:
        page = as_page(await other.get(started.path))
        assert page.response.headers[ID] in page.text
        request = await recorded(page.response.headers[ID])
        assert (request.outcome, request.reason) == ("refused", "cookie_missing")
        assert "SameSite" in request.mend
        assert request.trace_id == started_flow(await traced(request.request_id))
        await client.authorize(other)
        page = as_page(await other.get(started.path))
        assert (await recorded(page.response.headers[ID])).reason == "other_browser"
    await execute("UPDATE signin_flow SET expires_at = now() WHERE id = $1", started.path.rpartition("/")[2])
    answer = await browser.client.get(f"{browser.issuer}{started.path}")
    assert answer.status_code == 303, "An expired sign-in leads on."


def started_flow(flow: list[ShownRequest]) -> str:
    """Return the id of the first request of a flow, which is the authorization request."""
    assert kinds(flow[0])[0] == "authorization_requested"
    return flow[0].request_id


async def test_prompt_none_without_a_session(
    server: Server, browser: Browser, client: RelyingParty, alice: User
) -> None:
    """Why there is no session: none ever, or who ended it."""
    url = f"{server.issuer}/authorize"
    response = await browser.client.get(url, params=client.parameters(prompt="none"))
    request = await recorded(response.headers[ID])
    assert (request.outcome, request.error) == ("refused", "login_required")
    assert kinds(request) == ["authorization_requested", "no_session", "error_sent_to_client"]
    await client.tokens(browser, alice.email)
    await sign_out.sign_out_everywhere(alice.id, "signed_out_by_admin")
    response = await browser.client.get(url, params=client.parameters(prompt="none"))
    why = fields(await recorded(response.headers[ID]), "no_session")["why"]
    assert why.startswith("the session ended at ")
    assert why.endswith("signed_out_by_admin")


async def test_a_silent_sign_in_is_recorded(
    server: Server, browser: Browser, client: RelyingParty, alice: User
) -> None:
    await client.tokens(browser, alice.email)
    url = f"{server.issuer}/authorize"
    response = await browser.client.get(url, params=client.parameters(prompt="none"))
    request = await recorded(response.headers[ID])
    assert request.outcome == "success"
    assert kinds(request) == ["authorization_requested", "session_found", "consent_not_needed", "code_issued"]


async def test_a_code_and_its_pkce(browser: Browser, client: RelyingParty, alice: User) -> None:
    code = await client.sign_in(browser, alice.email)
    response = await client.redeem(code, code_verifier="another-verifier-that-is-long-enough-for-it")
    request = await recorded(response.headers[ID])
    assert (request.reason, request.user_id) == ("pkce_mismatch", alice.id)
    assert fields(request, "code_examined")["verifier"] == "does not belong to the code_challenge"
    assert kinds((await traced(response.headers[ID]))[0])[0] == "authorization_requested"
    response = await client.redeem(code, redirect_uri="https://elsewhere.example/callback?x=y")
    examined = fields(await recorded(response.headers[ID]), "code_examined")
    assert examined["redirect_uri_sent"] == "https://elsewhere.example/callback?x=…"
    assert examined["redirect_uri_expected"] == client.redirect_uri


async def test_a_client_that_fails_to_authenticate_itself(client: RelyingParty, http: httpx.AsyncClient) -> None:
    form = {"grant_type": "client_credentials"}
    response = await http.post(f"{client.issuer}/token", data=form, auth=(client.client_id, "wrong-" + "x" * 40))
    request = await recorded(response.headers[ID])
    assert (request.outcome, request.reason, request.client_id) == ("refused", "wrong_secret", None)
    failed = fields(request, "client_not_authenticated")
    assert (failed["used"], failed["reason"]) == ("client_secret_basic", "wrong_secret")
    assert "client_secret_basic" in failed["registered"]
    response = await http.post(f"{client.issuer}/token", data=form | {"client_id": client.client_id})
    assert (await recorded(response.headers[ID])).reason == "secret_not_sent"


@pytest.mark.parametrize(
    ("changes", "reason", "told"),
    [
        ({"aud": "https://other.example"}, "wrong_audience", {"aud": ["https://other.example"]}),
        ({"iat": 300, "nbf": 300, "exp": 360}, "not_yet_valid", {"clock_skew_seconds": 300}),
        ({"iat": -600, "exp": -300}, "expired", {"clock_skew_seconds": -300}),
        ({"kid": "another-kid"}, "bad_signature", {"kid": "another-kid"}),
    ],
)
async def test_an_assertion(
    client: RelyingParty, http: httpx.AsyncClient, changes: dict[str, object], reason: str, told: dict[str, object]
) -> None:
    """The audience, the key and the clock of a client, in seconds."""
    key = jose.generate("ES256")
    bank = await assertions.register_bank(jwks={"keys": [key.public_jwk | {"kid": "the-kid"}]})
    await until_current(client)
    now = int(time.time())
    kid = str(changes.get("kid", "the-kid"))
    times = {name: now + value for name, value in changes.items() if isinstance(value, int)}
    others = {name: value for name, value in changes.items() if name != "kid"}
    claims = assertions.claims(bank.client_id) | {"aud": client.issuer} | others | times
    assertion = signed(key, {"alg": "ES256", "kid": kid}, claims)
    form = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
    response = await http.post(f"{client.issuer}/token", data=form)
    assert response.status_code == 401, response.text
    request = await recorded(response.headers[ID])
    failed = fields(request, "client_not_authenticated")
    assert (request.reason, failed["used"], failed["known_kids"]) == (reason, "private_key_jwt", ["the-kid"])
    skew = told.get("clock_skew_seconds")
    assert skew is None or abs(failed["clock_skew_seconds"] - int(str(skew))) <= 30
    assert all(failed[name] == value for name, value in told.items() if name != "clock_skew_seconds")
    assert failed["expected_aud"] == client.issuer


async def test_a_proof_of_another_request(browser: Browser, client: RelyingParty, alice: User) -> None:
    code = await client.sign_in(browser, alice.email)
    key = DPoPKey()
    response = await client.redeem(code, key("POST", "https://internal.example:8443/token", iat=int(time.time()) - 20))
    request = await recorded(response.headers[ID])
    refused = fields(request, "proof_refused")
    assert request.reason == "proof_of_another_request"
    assert (refused["sent"], refused["expected"]) == (
        "https://internal.example:8443/token",
        [f"{client.issuer}/token"],
    )
    assert -60 < refused["clock_skew_seconds"] <= -19


async def test_what_is_everyday_is_not_recorded(make_client: MakeClient, http: httpx.AsyncClient) -> None:
    """A token for a client itself writes nothing; a refusal right after it does."""
    client = await make_client(grant_types=["client_credentials"], redirect_uris=[], response_types=[], scope="")
    granted = await client.post("/token", grant_type="client_credentials")
    assert granted.status_code == 200
    refused = await client.post("/token", grant_type="client_credentials", scope="payments")
    request = await recorded(refused.headers[ID])
    assert fields(request, "scope_refused") == {"scope": ["payments"]}
    assert not await fetch("SELECT FROM trace WHERE request_id = $1", granted.headers[ID])


async def test_a_disabled_recorder_records_nothing(
    start_server: Callable[..., Server], make_client: MakeClient
) -> None:
    server = start_server(IDP_TRACE_RETENTION="0")
    client = await make_client(at=server)
    response = await client.redeem("no-such-code")
    assert response.status_code == 400
    server.stop()
    assert not await fetch("SELECT FROM trace WHERE request_id = $1", response.headers[ID])


async def test_an_access_policy(browser: Browser, client: RelyingParty, alice: User) -> None:
    """Which condition does not hold is for the operator only. The page shows the id to quote."""
    await set_policy(client, networks=["203.0.113.0/24"])
    page = as_page(await client.authorize(browser))
    page = as_page(await browser.sign_in(page, alice.email, PASSWORD))
    assert page.response.headers[ID] in page.text
    flow = await traced(page.response.headers[ID])
    denied = next(request for request in flow if "access_denied" in kinds(request))
    assert fields(denied, "access_denied") == {"condition": "outside_of_network"}
    assert (flow[-1].reason, flow[-1].user_id) == ("outside_of_network", alice.id)


@pytest.mark.parametrize("date", ["1e400", "-1e400", "9" * 400])
async def test_a_number_that_is_no_time(browser: Browser, client: RelyingParty, alice: User, date: str) -> None:
    """It ends in the refusal of the protocol, not in an error of the server."""
    code = await client.sign_in(browser, alice.email)
    header = json.dumps(DPoPKey().header)
    claims = f'{{"jti":"x","htm":"POST","htu":"{client.issuer}/token","iat":{date}}}'
    parts = (base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in (header, claims, "x" * 64))
    response = await client.redeem(code, {"DPoP": ".".join(parts)})
    assert (response.status_code, response.json()["error"]) == (400, "invalid_dpop_proof")
    assert "clock_skew_seconds" not in fields(await recorded(response.headers[ID]), "proof_refused")
