"""Row 40: a bound token without its key, a proof that is used again, and a proof for something else."""

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable
from uuid import UUID

import httpx
import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import fetch, fetchrow
from idp.oauth.clients.registration import register_resource_server
from idp.oauth.replay import repository as replay
from idp.oauth.replay.service import use_once
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, Redirect
from tests.support.dpop import DPoPKey
from tests.support.oauth import PASSWORD, RelyingParty, pkce, until_current
from tests.support.proxy import proxy_to
from tests.support.server import Server
from tests.support.tokens import claims_of, encode

OWN, THIEF = DPoPKey(), DPoPKey()


@pytest.fixture
async def app(make_client: MakeClient) -> RelyingParty:
    """A public client, whose tokens nothing but its key protects."""
    return await make_client(token_endpoint_auth_method="none", skip_consent=True)


@pytest.fixture
async def web(make_client: MakeClient) -> RelyingParty:
    return await make_client(skip_consent=True)


@pytest.fixture
async def service(make_client: MakeClient) -> RelyingParty:
    return await make_client(grant_types=["client_credentials"], redirect_uris=[], scope="orders:read")


def by(key: DPoPKey, party: RelyingParty, path: str = "/token", **changes: object) -> dict[str, str]:
    return key("POST", f"{party.issuer}{path}", **changes)


async def _bound(party: RelyingParty, browser: Browser, person: User) -> dict[str, str]:
    party.verifier = pkce()[0]
    response = await party.redeem(await party.sign_in(browser, person.email), by(OWN, party))
    assert response.status_code == 200, response.text
    tokens: dict[str, str] = response.json()
    assert tokens["token_type"] == "DPoP"
    assert claims_of(tokens["access_token"])["cnf"] == {"jkt": OWN.jkt}
    return tokens


def _refused(response: httpx.Response, error: str) -> None:
    assert (response.status_code, response.json()["error"]) == (400, error), response.text


async def _reasons(party: RelyingParty, *expected: str) -> list[str]:
    """The reasons of refusals at the token endpoint, once those expected are written, or after ten seconds."""
    found: list[str] = []
    for _ in range(3000):
        rows = await fetch(
            "SELECT detail ->> 'reason' AS reason FROM audit_event"
            " WHERE client_id = $1 AND event = 'token_refused' ORDER BY id",
            party.client_id,
        )
        found = [str(row["reason"]) for row in rows]
        if not Counter(expected) - Counter(found):
            break
        await asyncio.sleep(0.02)
    return found


# Stolen access tokens


async def test_40_a_stolen_access_token(web: RelyingParty, browser: Browser, alice: User) -> None:
    token, url = (await _bound(web, browser, alice))["access_token"], f"{web.issuer}/userinfo"
    for headers in (
        {"Authorization": f"Bearer {token}"},
        {"Authorization": f"DPoP {token}"},
        THIEF("GET", url, token),
        THIEF("GET", url, token) | {"Authorization": f"Bearer {token}"},
        OWN("GET", url, token, ath=None),
    ):
        response = await web.http.get(url, headers=headers)
        assert response.status_code == 401
        assert "WWW-Authenticate" in response.headers
    assert (await web.http.get(url, headers=OWN("GET", url, token))).status_code == 200


async def test_40_the_claim_cannot_be_taken_out(web: RelyingParty, browser: Browser, alice: User) -> None:
    """The binding is signed: without `cnf`, or with another key, it is another token."""
    token, url = (await _bound(web, browser, alice))["access_token"], f"{web.issuer}/userinfo"
    header, _, signature = token.split(".")
    claims = claims_of(token)
    for cnf in (None, {}, {"jkt": THIEF.jkt}):
        changed = {name: value for name, value in claims.items() if name != "cnf"} | ({"cnf": cnf} if cnf else {})
        forged = f"{header}.{encode(changed)}.{signature}"
        for headers in ({"Authorization": f"Bearer {forged}"}, THIEF("GET", url, forged)):
            assert (await web.http.get(url, headers=headers)).status_code == 401


# Proofs used again


async def test_40_two_servers_know_the_same_proofs(
    web: RelyingParty, browser: Browser, alice: User, start_server: Callable[..., Server], server: Server
) -> None:
    """One proof at two servers of one issuer, at the same time."""
    other = await asyncio.to_thread(start_server, IDP_ISSUER=server.issuer)
    token, issued_for = (await _bound(web, browser, alice))["access_token"], f"{web.issuer}/userinfo"
    for _ in range(4):
        headers = OWN("GET", issued_for, token)
        answers = await asyncio.gather(
            *(web.http.get(f"{url}/userinfo", headers=headers) for url in (server.url, other.url) for _ in range(3))
        )
        assert sorted(each.status_code for each in answers) == [200, 401, 401, 401, 401, 401]


async def test_40_kill_9_between_the_check_and_the_answer(
    dsn: str,
    start_server: Callable[..., Server],
    make_client: MakeClient,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PostgreSQL has recorded the proof, its answer never arrives, the server is killed: no other server accepts it."""
    party = await make_client(grant_types=["client_credentials"], redirect_uris=[], scope="orders:read")
    headers = by(OWN, party, jti="of-the-doomed")
    key = await _key_of("of-the-doomed", monkeypatch)
    async with proxy_to(dsn) as proxy:
        doomed = await asyncio.to_thread(start_server, IDP_DATABASE_URL=proxy.dsn, IDP_ISSUER=server.issuer)
        party.issuer = doomed.url
        proxy.withhold_after = key.bytes
        lost = asyncio.create_task(party.post("/token", headers, grant_type="client_credentials"))
        for _ in range(3000):
            if await fetchrow("SELECT FROM used_jwt WHERE key = $1", key) is not None:
                break
            await asyncio.sleep(0.01)
        doomed.kill()
        with pytest.raises(httpx.TransportError):
            await lost
    party.issuer = server.issuer
    again = await party.post("/token", headers, grant_type="client_credentials")
    _refused(again, "invalid_dpop_proof")
    assert again.json()["error_description"] == "The DPoP proof was used before."


async def _key_of(jti: str, monkeypatch: pytest.MonkeyPatch) -> UUID:
    """The key of a proof in the replay store."""
    keys: list[UUID] = []

    async def use(key: UUID, _: object) -> bool:
        keys.append(key)
        return True

    with monkeypatch.context() as patched:
        patched.setattr(replay, "use", use)
        await use_once("dpop", OWN.jkt, jti, None)  # type: ignore[arg-type]
    return keys[0]


# Proofs for something else


@pytest.mark.parametrize(
    "htu",
    [
        "{issuer}/token/",
        "{issuer}//token",
        "{issuer}/TOKEN",
        "{issuer}/userinfo",
        "{issuer}",
        "http://evil.example/token",
        "http://localhost/token",
        "http://localhost.evil.example:{port}/token",
        "http://user@localhost:{port}/token",
        "http://evil.example#@localhost:{port}/token",
        "http://evil.example\\@localhost:{port}/token",
        "https://localhost:{port}/token",
        "ws://localhost:{port}/token",
        "//localhost:{port}/token",
        "/token",
    ],
)
async def test_40_a_proof_for_another_url(service: RelyingParty, server: Server, htu: str) -> None:
    named = htu.format(issuer=service.issuer, port=server.port)
    evil = {"Host": named.split("/")[2]} if named.count("/") > 2 and "evil.example/" in named else {}
    answer = await service.post("/token", by(OWN, service, htu=named) | evil, grant_type="client_credentials")
    _refused(answer, "invalid_dpop_proof")


@pytest.mark.parametrize(
    "htu",
    [
        "{issuer}/token?client_id=x",
        "{issuer}/token#x",
        "HTTP://LocalHost:{port}/token",
        "{issuer}/%74oken",
        "{issuer}/x/../token",
    ],
)
async def test_40_other_spellings_of_the_url(service: RelyingParty, server: Server, htu: str) -> None:
    headers = by(OWN, service, htu=htu.format(issuer=service.issuer, port=server.port))
    answer = await service.post("/token", headers, grant_type="client_credentials")
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"htm": "GET"}, "invalid_dpop_proof"),
        ({"iat": 1_700_000_000}, "invalid_dpop_proof"),
        ({"iat": 4_000_000_000}, "invalid_dpop_proof"),
        ({"nonce": "guessed"}, "use_dpop_nonce"),
        ({"jti": "x" * 5000}, "invalid_dpop_proof"),
        ({"jti": "a\0b"}, "invalid_dpop_proof"),
    ],
)
async def test_40_a_proof_for_another_time_or_method(
    service: RelyingParty, changes: dict[str, object], error: str
) -> None:
    answer = await service.post("/token", by(OWN, service, **changes), grant_type="client_credentials")
    _refused(answer, error)


def _malformed() -> list[bytes]:
    one = OWN.proof("POST", "http://localhost/token")
    header, payload, signature = one.split(".")
    return [
        *(b"", b".", b"..", b"x.y.z", b"\xff\xfe", b"null", b"{}", b"[" * 4000, b"A" * 9000, b"." * 9000),
        *(f"{header}.{payload}.".encode(), f"{header}..{signature}".encode(), f".{payload}.{signature}".encode()),
        *(f"{one}.x.y".encode(), f"{one}, {one}".encode(), f'"{one}"'.encode(), f"DPoP {one}".encode()),
        encode({"alg": "none", "typ": "dpop+jwt", "jwk": OWN.jwk}).encode() + b"." + payload.encode() + b".",
        encode(b'{"alg":' * 900).encode() + b"." + payload.encode() + b"." + signature.encode(),
    ]


async def test_40_malformed_proofs(web: RelyingParty, service: RelyingParty, browser: Browser, alice: User) -> None:
    """At each endpoint that reads proofs, each is refused by name."""
    bound = (await _bound(web, browser, alice))["access_token"]
    for number, text in enumerate(_malformed()):
        headers = {b"dpop": text}
        for party, path, form in (
            (service, "/token", {"grant_type": "client_credentials"}),
            (web, "/par", web.parameters()),
        ):
            auth = httpx.BasicAuth(party.client_id, party.client_secret or "")
            answer = await web.http.post(f"{web.issuer}{path}", data=form, headers=headers, auth=auth)
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_dpop_proof"), (number, answer.text)
        answer = await web.http.get(
            f"{web.issuer}/userinfo", headers={b"authorization": f"DPoP {bound}".encode(), **headers}
        )
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_dpop_proof"), number
        assert answer.headers["www-authenticate"].startswith('DPoP realm="idp", error="invalid_dpop_proof", ')


async def test_40_a_refused_proof_stores_nothing(app: RelyingParty, browser: Browser, alice: User) -> None:
    """Neither does one with a forged token, which anybody could send for a public client: the `jti` stays unused."""
    tokens = await _bound(app, browser, alice)
    forged = tokens["refresh_token"][:-4] + "AAAA"
    for changes in ({"htm": "GET"}, {"htu": "http://evil.example/"}, {"nonce": "x"}, {"iat": 1}):
        refused = await app.refresh(tokens["refresh_token"], by(OWN, app, jti="only-once", **changes))
        assert refused.json()["error"] in ("invalid_dpop_proof", "use_dpop_nonce")
    for token in (forged, "x", tokens["access_token"]):
        _refused(await app.refresh(token, by(OWN, app, jti="only-once")), "invalid_grant")
    _refused(await app.redeem("x", by(OWN, app, jti="only-once")), "invalid_grant")
    accepted = await app.refresh(tokens["refresh_token"], by(OWN, app, jti="only-once"))
    assert accepted.status_code == 200, accepted.text
    _refused(await app.refresh(accepted.json()["refresh_token"], by(OWN, app, jti="only-once")), "invalid_dpop_proof")


# Stolen codes


async def test_40_a_stolen_code(app: RelyingParty, browser: Browser, alice: User) -> None:
    """Bound by `dpop_jkt`. A wrong key does not use it up."""
    code = await app.sign_in(browser, alice.email, dpop_jkt=OWN.jkt)
    _refused(await app.redeem(code, by(THIEF, app)), "invalid_grant")
    _refused(await app.redeem(code), "invalid_grant")
    assert await _reasons(app, "wrong_key", "proof_missing") == ["wrong_key", "proof_missing"]
    answer = await app.redeem(code, by(OWN, app))
    assert (answer.status_code, answer.json()["token_type"]) == (200, "DPoP"), answer.text
    # Nor does a second use with a wrong key end what it was used for. One with the key is a replay.
    token, url = answer.json()["access_token"], f"{app.issuer}/userinfo"
    for headers, live in ((by(THIEF, app), True), (None, True), (by(OWN, app), False)):
        _refused(await app.redeem(code, headers), "invalid_grant")
        assert (await app.http.get(url, headers=OWN("GET", url, token))).is_success == live


async def test_40_a_code_that_was_pushed(web: RelyingParty, browser: Browser, alice: User) -> None:
    """Bound by the proof of the pushed request (RFC 9449 section 10.1)."""
    for headers, more in (
        (by(OWN, web, "/par"), {}),
        (None, {"dpop_jkt": OWN.jkt}),
        (by(OWN, web, "/par"), {"dpop_jkt": OWN.jkt}),
    ):
        pushed = await web.post("/par", headers, **web.parameters(**more))
        assert pushed.status_code == 201, pushed.text
        # What the browser adds does not count.
        browser_sends = {"client_id": web.client_id, "request_uri": pushed.json()["request_uri"], "dpop_jkt": THIEF.jkt}
        answer = await browser.get("/authorize", **browser_sends)
        if isinstance(answer, Page):
            answer = await browser.sign_in(answer, alice.email, PASSWORD)
        assert isinstance(answer, Redirect)
        code = answer.parameters["code"]
        _refused(await web.redeem(code, by(THIEF, web)), "invalid_grant")
        assert (await web.redeem(code, by(OWN, web))).status_code == 200
    mismatch = await web.post("/par", by(OWN, web, "/par"), **web.parameters(dpop_jkt=THIEF.jkt))
    _refused(mismatch, "invalid_dpop_proof")
    _refused(await web.post("/par", by(OWN, web), **web.parameters()), "invalid_dpop_proof")


@pytest.mark.parametrize("jkt", ["x", "a" * 42, "a" * 44, "a" * 42 + "=", "a" * 42 + "/", "é" * 43, "a" * 30_000])
async def test_40_a_dpop_jkt_that_is_none(web: RelyingParty, jkt: str) -> None:
    _refused(await web.post("/par", **web.parameters(dpop_jkt=jkt)), "invalid_request")


# Stolen refresh tokens


async def test_40_a_stolen_refresh_token_of_a_public_client(app: RelyingParty, browser: Browser, alice: User) -> None:
    """A wrong key neither rotates it, nor ends its family by using it again."""
    other = f"https://other.{secrets.token_hex(4)}.example"
    await register_resource_server(other, "Other")
    await until_current(app)
    first = (await _bound(app, browser, alice))["refresh_token"]
    for more in ({}, {"resource": other}, {"scope": "openid address"}):
        _refused(await app.refresh(first, by(THIEF, app), **more), "invalid_grant")
        _refused(await app.refresh(first, **more), "invalid_grant")
    second = await app.refresh(first, by(OWN, app))
    assert (second.status_code, second.json()["token_type"]) == (200, "DPoP"), second.text
    # The successor is repeated for a while, but not to a thief.
    _refused(await app.refresh(first, by(THIEF, app)), "invalid_grant")
    repeated = await app.refresh(first, by(OWN, app))
    assert repeated.json()["refresh_token"] == second.json()["refresh_token"]
    third = await app.refresh(second.json()["refresh_token"], by(OWN, app))
    assert third.status_code == 200
    expected = {"wrong_key", "proof_missing", "rotated"}
    assert set(await _reasons(app, *expected)) == expected


async def test_40_a_used_token_of_a_thief_ends_nothing(
    app: RelyingParty, browser: Browser, alice: User, start_server: Callable[..., Server], server: Server
) -> None:
    """Without a window for repetitions, each second use is a theft: but only the key's owner can be robbed."""
    tokens = await _bound(app, browser, alice)
    strict = await asyncio.to_thread(
        start_server, IDP_ISSUER=server.issuer, IDP_REFRESH_TOKEN_GRACE="0", IDP_REFRESH_TOKEN_REPEAT="0"
    )
    first, url = tokens["refresh_token"], f"{app.issuer}/token"
    app.issuer = strict.url
    second = (await app.refresh(first, OWN("POST", url))).json()["refresh_token"]
    _refused(await app.refresh(first, THIEF("POST", url)), "invalid_grant")
    _refused(await app.refresh(first), "invalid_grant")
    third = await app.refresh(second, OWN("POST", url))
    assert third.status_code == 200, third.text
    _refused(await app.refresh(second, OWN("POST", url)), "invalid_grant")
    _refused(await app.refresh(third.json()["refresh_token"], OWN("POST", url)), "invalid_grant")


async def test_40_a_refresh_token_of_a_confidential_client(web: RelyingParty, browser: Browser, alice: User) -> None:
    """It is bound to the client, which may change its key (RFC 9449 section 5)."""
    first = (await _bound(web, browser, alice))["refresh_token"]
    other = await web.refresh(first, by(THIEF, web))
    assert other.status_code == 200, other.text
    assert claims_of(other.json()["access_token"])["cnf"] == {"jkt": THIEF.jkt}
    plain = await web.refresh(other.json()["refresh_token"])
    assert plain.json()["token_type"] == "Bearer"
    assert "cnf" not in claims_of(plain.json()["access_token"])


async def test_40_a_client_that_must_bind_its_tokens(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """Nobody gets a Bearer token for it, by any grant, and nothing is used up."""
    party = await make_client(skip_consent=True, dpop_bound_access_tokens=True)
    code = await party.sign_in(browser, alice.email)
    _refused(await party.redeem(code), "invalid_dpop_proof")
    tokens = await party.redeem(code, by(OWN, party))
    assert tokens.json()["token_type"] == "DPoP"
    _refused(await party.refresh(tokens.json()["refresh_token"]), "invalid_dpop_proof")
    assert (await party.refresh(tokens.json()["refresh_token"], by(OWN, party))).status_code == 200
    assert await _reasons(party, "proof_missing", "proof_missing") == ["proof_missing", "proof_missing"]


# The authorization challenge endpoint


async def test_40_a_stolen_auth_session(make_client: MakeClient, alice: User) -> None:
    """A sign-in in an app that began with a proof goes on only with that key, and so does its code."""
    app = await make_client(
        application_type="native", token_endpoint_auth_method="none", redirect_uris=["com.example.app:/callback"],
        authorization_challenge=True, skip_consent=True,
    )  # fmt: skip
    asked = app.parameters(redirect_uri=None, response_type=None, state=None)
    begun = await app.post("/challenge", by(OWN, app, "/challenge"), **asked)
    session = begun.json()["auth_session"]
    password = {"auth_session": session, "username": alice.email, "password": PASSWORD}
    for headers in (None, by(THIEF, app, "/challenge"), by(OWN, app, "/token")):
        _refused(await app.post("/challenge", headers, **password), "invalid_dpop_proof")
        _refused(await app.post("/challenge/forgot", headers, **password), "invalid_dpop_proof")
    answer = await app.post("/challenge", by(OWN, app, "/challenge"), **password)
    code = answer.json()["authorization_code"]
    form = {"grant_type": "authorization_code", "code": code, "code_verifier": app.verifier}
    _refused(await app.post("/token", by(THIEF, app), **form), "invalid_grant")
    assert (await app.post("/token", by(OWN, app), **form)).json()["token_type"] == "DPoP"
