"""DPoP at the token endpoint (RFC 9449 section 5)."""

import asyncio
import json
from collections.abc import Callable

import httpx
import pytest

from idp.infra.db.engine import fetch
from idp.oauth.binding import nonces
from tests.conftest import MakeClient
from tests.support.dpop import DPoPKey
from tests.support.oauth import RelyingParty
from tests.support.server import Server
from tests.support.tokens import claims_of

KEY = DPoPKey()


@pytest.fixture
async def service(make_client: MakeClient) -> RelyingParty:
    return await make_client(grant_types=["client_credentials"], redirect_uris=[], scope="orders:read")


async def _issue(party: RelyingParty, headers: dict[str, str] | None) -> httpx.Response:
    response = await party.post("/token", headers, grant_type="client_credentials")
    assert response.status_code < 500
    assert response.headers["cache-control"] == "no-store"
    return response


def _headers(party: RelyingParty, **changes: object) -> dict[str, str]:
    return KEY("POST", f"{party.issuer}/token", **changes)


def refused(response: httpx.Response, error: str = "invalid_dpop_proof") -> str:
    """Assert that the token endpoint refused a proof. Returns the description."""
    body = response.json()
    assert (response.status_code, body["error"]) == (400, error), body
    assert "www-authenticate" not in response.headers
    return str(body["error_description"])


async def test_a_bound_token(service: RelyingParty) -> None:
    response = await _issue(service, _headers(service))
    assert response.status_code == 200, response.text
    assert response.json()["token_type"] == "DPoP"
    assert claims_of(response.json()["access_token"])["cnf"] == {"jkt": KEY.jkt}
    # No nonce is needed, so none is given.
    assert "dpop-nonce" not in response.headers


async def test_without_a_proof_nothing_changes(service: RelyingParty) -> None:
    body = (await _issue(service, None)).json()
    assert body["token_type"] == "Bearer"
    assert "cnf" not in claims_of(body["access_token"])


async def test_a_proof_is_used_once(service: RelyingParty) -> None:
    headers = _headers(service)
    answers = await asyncio.gather(*(_issue(service, headers) for _ in range(8)))
    assert sorted(each.status_code for each in answers) == [200] + [400] * 7
    assert refused(await _issue(service, headers)) == "The DPoP proof was used before."


async def test_the_jti_is_of_its_key(service: RelyingParty) -> None:
    other = DPoPKey()
    for key in (KEY, other):
        headers = key("POST", f"{service.issuer}/token", jti="the-same")
        assert (await _issue(service, headers)).status_code == 200
    assert "before" in refused(await _issue(service, other("POST", f"{service.issuer}/token", jti="the-same")))


async def test_two_headers(service: RelyingParty) -> None:
    """Also two that are the same, and two in one."""
    one, url = KEY.proof("POST", f"{service.issuer}/token"), f"{service.issuer}/token"
    auth = httpx.BasicAuth(service.client_id, service.client_secret or "")
    for pairs in ([("DPoP", one), ("DPoP", one)], [("DPoP", one), ("dpop", "")], [("DPoP", f"{one}, {one}")]):
        response = await service.http.post(url, data={"grant_type": "client_credentials"}, headers=pairs, auth=auth)
        refused(response)
    assert (await _issue(service, {"DPoP": one})).status_code == 200


async def test_an_empty_header(service: RelyingParty) -> None:
    refused(await _issue(service, {"DPoP": ""}))


async def test_the_host_header_is_not_the_url(service: RelyingParty) -> None:
    """The proof is for the name in the Host header, not for the issuer's URL."""
    headers = KEY("POST", "http://evil.example/token") | {"Host": "evil.example"}
    refused(await _issue(service, headers))
    assert (await _issue(service, _headers(service) | {"Host": "evil.example"})).status_code == 200


async def test_a_client_that_must_send_a_proof(make_client: MakeClient) -> None:
    """RFC 9449 section 5.2."""
    party = await make_client(
        grant_types=["client_credentials"], redirect_uris=[], scope="orders:read", dpop_bound_access_tokens=True
    )
    refused(await _issue(party, None))
    assert (await _issue(party, _headers(party))).json()["token_type"] == "DPoP"


async def test_a_proof_does_not_authenticate(service: RelyingParty) -> None:
    service.client_secret = "wrong"
    response = await _issue(service, headers := _headers(service))
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    # It was not looked at.
    assert headers


async def test_nonces(service: RelyingParty) -> None:
    """RFC 9449 section 8: without storage, also by a server that has just started."""
    wrong = await _issue(service, _headers(service, nonce="wrong"))
    refused(wrong, "use_dpop_nonce")
    nonce = wrong.headers["dpop-nonce"]
    again = await _issue(service, _headers(service, nonce=nonce))
    assert again.status_code == 200, again.text
    # A client begins without a nonce, so that is no event.
    refused(await _issue(service, _headers(service, htm="GET")))
    for _ in range(1500):
        rows = await fetch(
            "SELECT detail FROM audit_event WHERE client_id = $1 AND outcome = 'failure'", service.client_id
        )
        if rows:
            break
        await asyncio.sleep(0.02)
    assert [json.loads(row["detail"])["reason"] for row in rows] == ["proof_of_another_request"]


async def test_an_older_nonce_is_replaced(service: RelyingParty) -> None:
    """Section 8.2: the answer to a request that succeeds brings the next nonce."""
    older = nonces._at(nonces.clock.timestamp() // nonces.STEP - 1)
    answer = await _issue(service, _headers(service, nonce=older))
    assert answer.status_code == 200, answer.text
    assert answer.headers["dpop-nonce"] in {nonces._at(nonces.clock.timestamp() // nonces.STEP - age) for age in (0, 1)}
    assert answer.headers["dpop-nonce"] != older


async def test_a_nonce_can_be_required(
    service: RelyingParty, start_server: Callable[..., Server], make_client: MakeClient
) -> None:
    server = await asyncio.to_thread(start_server, IDP_DPOP_NONCE_REQUIRED="true")
    service.issuer = server.issuer
    first = await _issue(service, _headers(service))
    refused(first, "use_dpop_nonce")
    assert (await _issue(service, _headers(service, nonce=first.headers["dpop-nonce"]))).status_code == 200
    # Without a proof, nothing is required.
    assert (await _issue(service, None)).status_code == 200
