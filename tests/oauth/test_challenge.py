"""The authorization challenge endpoint: sign-in by a first-party app, step by step, without a browser."""

import json
from typing import Any

import httpx
import pyotp
import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import execute, fetchrow
from idp.signin.factors import service as factors
from idp.signin.factors import totp
from tests.conftest import MakeClient
from tests.federation.conftest import Add, add, provider, visit
from tests.support.authenticator import Authenticator
from tests.support.browser import Browser, Redirect
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.stand_ins import OpenIDProvider
from tests.support.tokens import claims_of

__all__ = ["add", "provider"]

ORIGIN = "https://app.example.com"


@pytest.fixture
async def app(make_client: MakeClient) -> RelyingParty:
    """A native app of the operator's own."""
    return await make_client(
        application_type="native",
        token_endpoint_auth_method="none",
        redirect_uris=["com.example.app:/callback"],
        authorization_challenge=True,
        skip_consent=True,
    )


def request(app: RelyingParty, **changes: str | None) -> dict[str, str]:
    """The parameters of an authorization request, without those that belong to a redirect."""
    return app.parameters(redirect_uri=None, response_type=None, state=None, **changes)


async def begin(app: RelyingParty, **form: str) -> httpx.Response:
    return await app.post("/challenge", **request(app), **form)


async def go_on(app: RelyingParty, answer: httpx.Response, path: str = "/challenge", **form: str) -> httpx.Response:
    return await app.post(path, auth_session=answer.json()["auth_session"], **form)


async def tokens(app: RelyingParty, answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    code = answer.json()["authorization_code"]
    redeemed = await app.post("/token", grant_type="authorization_code", code=code, code_verifier=app.verifier)
    assert redeemed.status_code == 200, redeemed.text
    content: dict[str, Any] = redeemed.json()
    return content


async def test_email_and_password(app: RelyingParty, alice: User) -> None:
    answer = await begin(app, username=alice.email, password=PASSWORD)
    assert set(answer.json()) == {"authorization_code"}
    assert answer.headers["cache-control"] == "no-store"
    claims = claims_of((await tokens(app, answer))["id_token"])
    assert (claims["sub"], claims["amr"], claims["nonce"]) == (str(alice.id), ["pwd"], "the-nonce")


async def test_json_requests(app: RelyingParty, alice: User) -> None:
    body = request(app, username=alice.email, password=PASSWORD)
    answer = await app.http.post(f"{app.issuer}/challenge", json=body)
    assert (await tokens(app, answer))["access_token"]
    for content in (json.dumps([body]), json.dumps(body | {"username": 1}), '{"a": "\\u0000"}', "{", "[" * 5000):
        refused = await app.http.post(
            f"{app.issuer}/challenge", content=content, headers={"Content-Type": "application/json"}
        )
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")


async def test_the_response_names_the_next_steps(app: RelyingParty, alice: User) -> None:
    first = await begin(app)
    assert (first.status_code, first.json()["error"]) == (400, "insufficient_authorization")
    # The tests of upstreams share this server.
    steps = [step for step in first.json()["steps"] if step != "upstream"]
    assert steps == ["password", "email_code", "passkey", "registration"]
    wrong = await go_on(app, first, username=alice.email, password="not it")
    assert wrong.json()["error"] == "insufficient_authorization"
    assert (await go_on(app, wrong, username=alice.email, password=PASSWORD)).status_code == 200


async def test_a_second_step(app: RelyingParty, alice: User) -> None:
    setup = await totp.start_setup(alice.id, "test", alice.email)
    assert await totp.confirm(alice.id, "test", pyotp.TOTP(setup.secret).now())
    await execute("UPDATE totp SET last_step = 0 WHERE user_id = $1", alice.id)
    await factors.set_two_step(alice.id, True)
    answer = await begin(app, username=alice.email, password=PASSWORD)
    assert (answer.status_code, answer.json()["steps"]) == (400, ["totp"])
    refused = await go_on(app, answer, step="password", username=alice.email, password=PASSWORD)
    assert refused.json()["error"] == "insufficient_authorization"
    answer = await go_on(app, answer, otp=pyotp.TOTP(setup.secret).now())
    assert claims_of((await tokens(app, answer))["id_token"])["acr"] == "2"


async def test_a_code_by_mail(app: RelyingParty, alice: User, mailbox: Mailbox) -> None:
    answer = await begin(app, step="email_code", action="send", username=alice.email)
    assert answer.json()["error"] == "insufficient_authorization"
    letter = await mailbox.next(alice.email)
    answer = await go_on(app, answer, otp=letter.code)
    assert claims_of((await tokens(app, answer))["id_token"])["amr"] == ["otp"]


async def test_a_passkey(app: RelyingParty, alice: User, server: Any) -> None:
    from idp.signin.factors import passkeys

    authenticator = Authenticator(origin=app.issuer)
    options = passkeys.registration_options(alice, b"c" * 32, [])
    row = authenticator.create(options)
    await _keep_passkey(alice, authenticator, row)
    first = await begin(app)
    credential = authenticator.get(first.json()["passkey_options"])
    answer = await go_on(app, first, credential=credential)
    claims = claims_of((await tokens(app, answer))["id_token"])
    assert (claims["acr"], claims["amr"]) == ("phr", ["swk", "user", "mfa"])
    assert (await go_on(app, first, credential=credential)).json()["error"] == "invalid_session"


async def _keep_passkey(user: User, authenticator: Authenticator, response: str) -> None:
    """Store the passkey as a registration does, with the issuer of the server, from which that of the test process
    differs.
    """
    from webauthn.helpers import parse_registration_credential_json
    from webauthn.helpers.parse_attestation_object import parse_attestation_object

    from idp import ids

    credential = parse_registration_credential_json(response)
    data = parse_attestation_object(credential.response.attestation_object).auth_data.attested_credential_data
    assert data is not None
    await execute(
        "WITH taken AS (INSERT INTO passkey_credential (credential_id, user_id) VALUES ($3, $2))"
        " INSERT INTO passkey (id, user_id, credential_id, public_key, sign_count, transports, aaguid, backup_eligible,"
        " name, created_at) VALUES ($1, $2, $3, $4, 0, '{}', $5, true, 'Test', now())",
        ids.uuid7(), user.id, data.credential_id, data.credential_public_key, ids.uuid7(),
    )  # fmt: skip


async def test_registration(app: RelyingParty, mailbox: Mailbox) -> None:
    email = f"new-{app.client_id}@example.com"
    answer = await begin(app, step="registration", username=email, password="five odd fishes swim", name="New One")
    assert answer.json()["error"] == "insufficient_authorization"
    assert await fetchrow("SELECT 1 FROM users WHERE email = $1", email) is None
    answer = await go_on(app, answer, step="registration", otp=(await mailbox.next(email)).code)
    claims = claims_of((await tokens(app, answer))["id_token"])
    row = await fetchrow("SELECT id, email_verified FROM users WHERE email = $1", email)
    assert row is not None
    assert (claims["sub"], row["email_verified"]) == (str(row["id"]), True)


async def test_a_forgotten_password(app: RelyingParty, alice: User, mailbox: Mailbox) -> None:
    first = await begin(app)
    sent = await go_on(app, first, "/challenge/forgot", username=alice.email)
    assert sent.status_code == 200
    letter = await mailbox.next(alice.email)
    new = "seven tired otters nap"
    weak = await go_on(app, first, "/challenge/reset", otp=letter.code, password="password")
    assert weak.json()["error"] == "invalid_password"
    changed = await go_on(app, first, "/challenge/reset", otp=letter.code, password=new)
    assert changed.status_code == 200, changed.text
    assert (await go_on(app, first, username=alice.email, password=new)).status_code == 200


async def test_only_first_party_apps(client: RelyingParty, alice: User) -> None:
    answer = await client.post("/challenge", **request(client), username=alice.email, password=PASSWORD)
    assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")


async def test_only_the_app_that_started(app: RelyingParty, make_client: MakeClient, alice: User) -> None:
    other = await make_client(authorization_challenge=True, skip_consent=True)
    first = await begin(app)
    for party, session in ((other, first.json()["auth_session"]), (app, "x.y"), (app, "nothing")):
        answer = await party.post("/challenge", auth_session=session, username=alice.email, password=PASSWORD)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_session")


async def test_the_request_is_checked_as_any_other(app: RelyingParty) -> None:
    for changes, error in (
        ({"code_challenge": None}, "invalid_request"),
        ({"scope": "nothing-known"}, "invalid_scope"),
        ({"resource": "https://unknown.example"}, "invalid_target"),
    ):
        answer = await app.post("/challenge", **request(app, **changes))
        assert answer.json()["error"] == error


async def test_steps_that_need_a_browser(make_client: MakeClient, alice: User) -> None:
    """A factor to set up, or a consent to give."""
    strict = await make_client(authorization_challenge=True, skip_consent=True, default_acr_values=["2"])
    answer = await begin(strict, username=alice.email, password=PASSWORD)
    assert (answer.status_code, answer.json()["error"]) == (400, "redirect_to_web")
    asking = await make_client(authorization_challenge=True)
    answer = await begin(asking, username=alice.email, password=PASSWORD)
    assert answer.json()["error"] == "redirect_to_web"


async def test_a_code_of_it_is_for_the_same_app_only(app: RelyingParty, make_client: MakeClient, alice: User) -> None:
    code = (await begin(app, username=alice.email, password=PASSWORD)).json()["authorization_code"]
    other = await make_client(authorization_challenge=True)
    stolen = await other.post("/token", grant_type="authorization_code", code=code, code_verifier=app.verifier)
    assert stolen.json()["error"] == "invalid_grant"
    for verifier in (None, "x" * 43):
        answer = await app.post("/token", grant_type="authorization_code", code=code, code_verifier=verifier)
        assert answer.json()["error"] == "invalid_grant"


async def test_a_browser_session_stays_as_it_is(
    app: RelyingParty, browser: Browser, client: RelyingParty, alice: User
) -> None:
    """An app on the same site may send its cookies along. They are not its own."""
    await client.sign_in(browser, alice.email)
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    answer = await app.post(
        "/challenge", headers={"Cookie": cookie}, **request(app), username=alice.email, password=PASSWORD
    )
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    assert "code" in (await client.authorize(browser, prompt="none")).parameters


async def test_a_page_gets_its_refresh_token_in_a_cookie(make_client: MakeClient, alice: User) -> None:
    page = await make_client(
        token_endpoint_auth_method="none",
        authorization_challenge=True,
        skip_consent=True,
        refresh_token_cookie=True,
    )
    own = {"Origin": ORIGIN}
    answer = await page.post("/challenge", headers=own, **request(page), username=alice.email, password=PASSWORD)
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    redeemed = await page.post(
        "/token", headers=own, grant_type="authorization_code", code=answer.json()["authorization_code"],
        code_verifier=page.verifier,
    )  # fmt: skip
    assert "refresh_token" not in redeemed.json()
    assert "httponly" in redeemed.headers["set-cookie"].lower()


async def test_an_account_elsewhere(app: RelyingParty, add: Add, provider: OpenIDProvider, browser: Browser) -> None:
    """The response has the URL for the browser, which returns to the app with a code for the same verifier."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    first = await begin(app)
    assert "upstream" in first.json()["steps"]
    assert upstream.id in first.json()["upstreams"]
    for more in ({}, {"upstream": "none"}, {"upstream": upstream.id, "redirect_uri": "https://evil.example"}):
        assert (await go_on(app, first, step="upstream", **more)).json()["error"] == "invalid_request"
    answer = await go_on(app, first, step="upstream", upstream=upstream.id, state="mine")
    assert (answer.status_code, answer.json()["error"]) == (400, "redirect_to_web")
    away = await browser.get(answer.json()["authorization_url"].removeprefix(app.issuer))
    assert isinstance(away, Redirect), away.text
    back = await browser.get(await visit(away.location))
    assert isinstance(back, Redirect), back.text
    assert back.location.startswith("com.example.app:/callback?")
    assert back.parameters["state"] == "mine"
    redeemed = await app.redeem(back.parameters["code"])
    claims = claims_of(redeemed.json()["id_token"])
    assert (claims["amr"], claims["nonce"]) == (["fed"], "the-nonce")


async def test_an_account_elsewhere_and_back_to_any_port(
    make_client: MakeClient, add: Add, provider: OpenIDProvider, browser: Browser
) -> None:
    """RFC 8252 section 7.3: the port of a loopback redirect URI is the one that the app listens at."""
    app = await make_client(
        application_type="native",
        token_endpoint_auth_method="none",
        redirect_uris=["http://127.0.0.1/callback"],
        authorization_challenge=True,
        skip_consent=True,
    )
    upstream = await add(issuer=provider.issuer, trust_email=True)
    first, elsewhere = await begin(app), {"step": "upstream", "upstream": upstream.id}
    refused = await go_on(app, first, **elsewhere, redirect_uri="http://127.0.0.1:51004/other")
    assert refused.json()["error"] == "invalid_request"
    answer = await go_on(app, first, **elsewhere, redirect_uri="http://127.0.0.1:51004/callback")
    assert answer.json()["error"] == "redirect_to_web", answer.text
    away = await browser.get(answer.json()["authorization_url"].removeprefix(app.issuer))
    assert isinstance(away, Redirect), away.text
    back = await browser.get(await visit(away.location))
    assert isinstance(back, Redirect), back.text
    assert back.location.startswith("http://127.0.0.1:51004/callback?")
