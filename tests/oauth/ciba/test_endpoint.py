"""The backchannel authentication endpoint (CIBA Core sections 7 and 13)."""

import secrets
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from idp import clock
from idp.accounts.tables import User
from idp.errors import InvalidRequestError, OAuthError
from idp.ids import digest
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.keys.key_set import key_set
from idp.oauth.ciba import hints, limits
from idp.oauth.ciba.hints import MAX_HINT_AGE
from idp.oauth.clients.registration import register_client
from idp.settings import HOUR, settings
from tests.conftest import MakeClient, MakeUser
from tests.support.assertions import ClientKeys
from tests.support.browser import Browser
from tests.support.ciba import CIBA, GRANT, ask, asked, poll
from tests.support.conformance import check_json_error
from tests.support.oauth import RelyingParty
from tests.support.server import Server

TOKEN = "9mZ4t1Qe" * 5


@pytest.fixture
async def bank(make_client: MakeClient) -> RelyingParty:
    return await make_client(**CIBA)


async def test_the_answer(bank: RelyingParty, alice: User) -> None:
    """Section 7.3. Of the auth_req_id only the hash is stored."""
    response = await ask(bank, alice.email, binding_message="W4SCT")
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    answer = response.json()
    assert answer.keys() == {"auth_req_id", "expires_in", "interval"}
    assert (answer["expires_in"], answer["interval"]) == (settings().ciba_request_lifetime, 5)
    row = await fetchrow("SELECT * FROM backchannel_request WHERE auth_req_hash = $1", digest(answer["auth_req_id"]))
    assert row is not None
    assert (row["user_id"], row["client_id"], row["binding_message"]) == (alice.id, bank.client_id, "W4SCT")
    assert answer["auth_req_id"] not in str(dict(row))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"login_hint": None}, "invalid_request"),
        ({"id_token_hint": "x"}, "invalid_request"),
        ({"login_hint": None, "login_hint_token": "x"}, "invalid_request"),
        ({"login_hint": None, "id_token_hint": "x"}, "invalid_request"),
        ({"login_hint": "not an address"}, "unknown_user_id"),
        ({"scope": None}, "invalid_scope"),
        ({"scope": "profile"}, "invalid_scope"),
        ({"scope": "none-such"}, "invalid_scope"),
        ({"resource": "https://unknown.example"}, "invalid_target"),
        ({"authorization_details": "[]x"}, "invalid_authorization_details"),
        ({"user_code": "1234"}, "invalid_user_code"),
        ({"binding_message": "x" * 129}, "invalid_binding_message"),
        ({"binding_message": "two\nlines"}, "invalid_binding_message"),
        ({"binding_message": "turned\u202earound"}, "invalid_binding_message"),
        ({"binding_message": "not\u3164seen"}, "invalid_binding_message"),
        ({"requested_expiry": "0"}, "invalid_request"),
        ({"requested_expiry": "-1"}, "invalid_request"),
        ({"requested_expiry": "1.5"}, "invalid_request"),
        ({"requested_expiry": "9" * 5000}, "invalid_request"),
        ({"request_uri": "https://bank.example/request"}, "invalid_request"),
        ({"request": "a.b.c"}, "invalid_request"),
        ({"acr_values": "x" * 3000}, "invalid_request"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
async def test_a_wrong_request_is_refused(
    bank: RelyingParty, alice: User, changes: dict[str, str | None], error: str
) -> None:
    check_json_error(await ask(bank, alice.email, **changes), 400, error)
    assert await fetch("SELECT 1 FROM backchannel_request WHERE user_id = $1", alice.id) == []


@pytest.mark.parametrize(
    ("requested", "expires_in"), [("45", 45), ("1", 30), ("600", 600), (str(10 * HOUR), HOUR)], ids=str
)
async def test_the_requested_expiry_is_bounded(
    bank: RelyingParty, alice: User, requested: str, expires_in: int
) -> None:
    response = await ask(bank, alice.email, requested_expiry=requested)
    assert response.json()["expires_in"] == expires_in


async def test_a_client_needs_the_grant(client: RelyingParty, alice: User) -> None:
    check_json_error(await ask(client, alice.email), 400, "unauthorized_client")


async def test_a_client_authenticates(bank: RelyingParty, alice: User) -> None:
    bank.client_secret = "wrong"
    check_json_error(await ask(bank, alice.email), 401, "invalid_client")


async def test_it_is_off_unless_switched_on(
    start_server: Callable[..., Server], bank: RelyingParty, alice: User, http: httpx.AsyncClient
) -> None:
    """Neither the endpoint, nor the grant, nor a word in discovery."""
    server = start_server(IDP_CIBA="false")
    bank.issuer = server.issuer
    assert (await ask(bank, alice.email)).status_code == 404
    check_json_error(await poll(bank, "x"), 400, "unsupported_grant_type")
    document = (await http.get(f"{server.issuer}/.well-known/openid-configuration")).json()
    assert {name for name in document if name.startswith("backchannel_")} <= {
        *("backchannel_logout_supported", "backchannel_logout_session_supported"),
    }
    assert GRANT not in document["grant_types_supported"]


class TestIdTokenHint:
    @pytest.fixture
    async def tokens(self, make_client: MakeClient, browser: Browser, alice: User) -> tuple[RelyingParty, str]:
        client = await make_client(grant_types=["authorization_code", GRANT])
        return client, (await client.tokens(browser, alice.email))["id_token"]

    async def test_it_names_the_user(self, tokens: tuple[RelyingParty, str], alice: User) -> None:
        client, id_token = tokens
        auth_req_id = await asked(client, "", login_hint=None, id_token_hint=id_token)
        row = await fetchrow("SELECT user_id FROM backchannel_request WHERE auth_req_hash = $1", digest(auth_req_id))
        assert row is not None
        assert row["user_id"] == alice.id

    async def test_that_of_another_client_is_refused(
        self, tokens: tuple[RelyingParty, str], bank: RelyingParty
    ) -> None:
        check_json_error(await ask(bank, None, id_token_hint=tokens[1]), 400, "invalid_request")

    async def test_a_disabled_user_is_named(self, tokens: tuple[RelyingParty, str], alice: User) -> None:
        """Only to the client that knows the user."""
        await execute("UPDATE users SET disabled_at = now() WHERE id = $1", alice.id)
        check_json_error(await ask(tokens[0], None, id_token_hint=tokens[1]), 400, "unknown_user_id")

    async def test_its_age_is_bounded(self, db: str, alice: User) -> None:
        """Expired is not too old."""
        client, _ = await register_client(**CIBA)
        now = clock.timestamp()
        claims = {"iss": settings().issuer, "sub": str(alice.id), "aud": client.client_id, "exp": now - HOUR}
        young, old = (
            key_set.sign("RS256", "JWT", claims | {"iat": now - MAX_HINT_AGE + seconds}) for seconds in (60, -60)
        )
        assert (await hints.find({"id_token_hint": young}, client)).user_id == alice.id
        with pytest.raises(InvalidRequestError, match="older"):
            await hints.find({"id_token_hint": old}, client)


class TestSignedRequests:
    KEYS = ClientKeys()

    @pytest.fixture
    async def signer(self, make_client: MakeClient) -> RelyingParty:
        return await make_client(**CIBA, jwks=self.KEYS.jwks(), backchannel_authentication_request_signing_alg="ES256")

    def sign(self, client: RelyingParty, email: str, **changes: Any) -> str:
        now = clock.timestamp()
        claims = {
            "iss": client.client_id,
            "aud": client.issuer,
            "iat": now,
            "nbf": now,
            "exp": now + 300,
            "jti": secrets.token_hex(16),
            "scope": "openid",
            "login_hint": email,
            "binding_message": "W4SCT",
        } | changes
        return self.KEYS.sign({name: value for name, value in claims.items() if value is not None})

    async def test_it_is_accepted_once(self, signer: RelyingParty, alice: User) -> None:
        request = self.sign(signer, alice.email)
        assert (await signer.post("/backchannel-authentication", request=request)).status_code == 200
        check_json_error(await signer.post("/backchannel-authentication", request=request), 400, "invalid_request")

    @pytest.mark.parametrize("name", ["iss", "aud", "iat", "nbf", "exp", "jti"])
    async def test_every_claim_is_required(self, signer: RelyingParty, alice: User, name: str) -> None:
        """Section 7.1.1."""
        request = self.sign(signer, alice.email, **{name: None})
        check_json_error(await signer.post("/backchannel-authentication", request=request), 400, "invalid_request")

    async def test_parameters_beside_it_are_refused(self, signer: RelyingParty, alice: User) -> None:
        request = self.sign(signer, alice.email, login_hint=None)
        response = await signer.post("/backchannel-authentication", request=request, login_hint=alice.email)
        check_json_error(response, 400, "invalid_request")

    async def test_it_cannot_contain_another(self, signer: RelyingParty, alice: User) -> None:
        request = self.sign(signer, alice.email, request="x")
        check_json_error(await signer.post("/backchannel-authentication", request=request), 400, "invalid_request")

    async def test_an_unsigned_request_is_refused(self, signer: RelyingParty, alice: User) -> None:
        check_json_error(await ask(signer, alice.email), 400, "invalid_request")


class TestPing:
    """What the endpoint checks; the ping itself is tested in test_ping.py."""

    @pytest.fixture
    async def pinged(self, make_client: MakeClient) -> RelyingParty:
        return await make_client(
            **CIBA,
            backchannel_token_delivery_mode="ping",
            backchannel_client_notification_endpoint="https://bank.example/ping",
        )

    @pytest.mark.parametrize("token", [None, "x" * 21, "x" * 1025, "with space " + TOKEN, 'quote"' + TOKEN], ids=repr)
    async def test_a_token_is_required(self, pinged: RelyingParty, alice: User, token: str | None) -> None:
        check_json_error(await ask(pinged, alice.email, client_notification_token=token), 400, "invalid_request")

    async def test_it_is_stored_encrypted(self, pinged: RelyingParty, alice: User) -> None:
        await asked(pinged, alice.email, client_notification_token=TOKEN)
        row = await fetchrow("SELECT notification FROM backchannel_request WHERE user_id = $1", alice.id)
        assert row is not None
        assert TOKEN.encode() not in row["notification"]


class TestLimits:
    async def test_of_a_client_and_a_user(self, bank: RelyingParty, make_user: MakeUser) -> None:
        """An unknown user is counted like a known one."""
        burst = limits.OF_CLIENT_TO_USER.burst
        known = (await make_user()).email
        for email in (known, f"{secrets.token_hex(6)}@example.com"):
            answers = [(await ask(bank, email)).status_code for _ in range(burst + 1)]
            assert answers == [200] * burst + [429], email

    async def test_of_those_that_wait(self, make_client: MakeClient, alice: User) -> None:
        """Those of several clients together, for an unknown user too."""
        banks = [await make_client(**CIBA) for _ in range(3)]
        nobody = f"{secrets.token_hex(6)}@example.com"
        for email in (alice.email, nobody):
            answers = [(await ask(bank, email)).status_code for bank in banks for _ in range(4)]
            assert answers == [200] * limits.MAX_WAITING + [429] * 2, email


@pytest.mark.parametrize(
    "metadata",
    [
        {"grant_types": ["authorization_code"], "backchannel_token_delivery_mode": "poll"},
        {"backchannel_token_delivery_mode": "push"},
        {"backchannel_token_delivery_mode": "ping"},
        {"backchannel_client_notification_endpoint": "https://bank.example/ping"},
        {
            "backchannel_token_delivery_mode": "ping",
            "backchannel_client_notification_endpoint": "http://bank.example/ping",
        },
        {"backchannel_user_code_parameter": True},
        {"backchannel_authentication_request_signing_alg": "ES256"},
        {"backchannel_authentication_request_signing_alg": "none"},
        {"token_endpoint_auth_method": "none"},
    ],
    ids=lambda metadata: "-".join(metadata),
)
async def test_metadata_that_cannot_work_is_refused(db: str, metadata: dict[str, Any]) -> None:
    values = CIBA | metadata
    if values["grant_types"] == ["authorization_code"]:
        values |= {"redirect_uris": ["https://bank.example/cb"]}
    with pytest.raises(OAuthError, match="invalid_client_metadata"):
        await register_client(**values)


async def test_poll_is_the_default(db: str) -> None:
    client, _ = await register_client(**CIBA)
    assert client.backchannel_token_delivery_mode == "poll"
