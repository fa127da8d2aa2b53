"""Bound access tokens at userinfo, the admin API and introspection (RFC 9449 sections 6 and 7)."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest

from idp.accounts.tables import User
from idp.admin.roles import Role
from idp.keys.algorithms import PROOF_ALGORITHMS
from idp.oauth.binding import nonces
from idp.oauth.clients.service import set_admin_role
from tests.conftest import MakeClient
from tests.support.browser import Browser
from tests.support.dpop import DPoPKey
from tests.support.oauth import RelyingParty

KEY, OTHER = DPoPKey(), DPoPKey()
ALGS = f'algs="{" ".join(PROOF_ALGORITHMS)}"'


class Resource:
    """A protected resource, and a bound token for it."""

    def __init__(self, party: RelyingParty, path: str, token: str, unbound: str) -> None:
        self.party, self.url, self.token, self.unbound = party, f"{party.issuer}{path}", token, unbound

    def proof(self, token: str | None = None, **changes: object) -> dict[str, str]:
        """Return valid headers, with changed claims of the proof."""
        return KEY("GET", self.url, token or self.token, **changes)

    async def get(self, headers: dict[str, str] | list[tuple[str, str]]) -> httpx.Response:
        return await self.party.http.get(self.url, headers=headers)


MakeResource = Callable[[], Awaitable[Resource]]


@pytest.fixture(params=["userinfo", "admin"])
async def resource(request: pytest.FixtureRequest, make_client: MakeClient, alice: User, browser: Browser) -> Resource:
    if request.param == "userinfo":
        party = await make_client(skip_consent=True)
        url, path = f"{party.issuer}/token", "/userinfo"
        bound = await party.redeem(await party.sign_in(browser, alice.email), KEY("POST", url))
        other = await party.redeem(await party.sign_in(browser, alice.email))
    else:
        party = await make_client(grant_types=["client_credentials"], redirect_uris=[], scope="admin:clients:read")
        await set_admin_role(party.client_id, Role.OWNER)
        url, path = f"{party.issuer}/token", "/admin/api/v1/clients"
        form = {"grant_type": "client_credentials", "resource": f"{party.issuer}/admin/api"}
        bound, other = await party.post("/token", KEY("POST", url), **form), await party.post("/token", **form)
        await _until_admin(party, other.json()["access_token"])
    assert bound.json()["token_type"] == "DPoP", bound.text
    return Resource(party, path, bound.json()["access_token"], other.json()["access_token"])


async def _until_admin(party: RelyingParty, token: str) -> None:
    """Wait until the server knows the role."""
    for _ in range(1500):
        answer = await party.http.get(f"{party.issuer}/admin/api/v1/me", headers={"Authorization": f"Bearer {token}"})
        if answer.json().get("roles"):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(answer.text)


def refused(response: httpx.Response, challenge: str, error: str) -> None:
    assert response.status_code == 401, response.text
    assert response.headers["www-authenticate"].startswith(f'{challenge} realm="idp", error="{error}"')
    assert ALGS in response.headers["www-authenticate"] or challenge == "Bearer"


async def test_a_bound_token_with_its_proof(resource: Resource) -> None:
    response = await resource.get(resource.proof())
    assert response.status_code == 200, response.text
    assert "dpop-nonce" not in response.headers
    # The scheme is not case-sensitive.
    headers = resource.proof()
    headers["Authorization"] = headers["Authorization"].replace("DPoP", "dpop")
    assert (await resource.get(headers)).status_code == 200


async def test_a_bound_token_as_bearer(resource: Resource) -> None:
    """With a proof or without: RFC 9449 section 7.2."""
    bearer = {"Authorization": f"Bearer {resource.token}"}
    for headers in (bearer, resource.proof() | bearer):
        response = await resource.get(headers)
        refused(response, "Bearer", "invalid_token")
        assert response.headers["www-authenticate"].endswith(f", DPoP {ALGS}")


async def test_an_unbound_token_as_dpop(resource: Resource) -> None:
    assert (await resource.get({"Authorization": f"Bearer {resource.unbound}"})).status_code == 200
    refused(await resource.get(resource.proof(resource.unbound)), "DPoP", "invalid_token")


async def test_no_token(resource: Resource) -> None:
    for headers in ({}, {"DPoP": resource.proof()["DPoP"]}, {"Authorization": "DPoP"}):
        response = await resource.get(headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == f'Bearer realm="idp", DPoP {ALGS}'


async def test_a_token_that_is_none(resource: Resource) -> None:
    refused(await resource.get(resource.proof("not.a.token")), "DPoP", "invalid_token")


async def test_proofs_that_are_not_for_this_request(resource: Resource) -> None:
    token = resource.token
    for headers in (
        {"Authorization": f"DPoP {token}"},
        {"Authorization": f"DPoP {token}", "DPoP": ""},
        {"Authorization": f"DPoP {token}", "DPoP": "not a proof"},
        {"Authorization": f"DPoP {token}", "DPoP": KEY.proof("GET", resource.url)},
        resource.proof(ath="x"),
        resource.proof(htm="POST"),
        resource.proof(htu=f"{resource.party.issuer}/token"),
        resource.proof(htu=resource.url.replace("http://", "https://")),
        resource.proof(iat=1_000_000_000),
        KEY("GET", resource.url, resource.unbound) | {"Authorization": f"DPoP {token}"},
    ):
        refused(await resource.get(headers), "DPoP", "invalid_dpop_proof")
    two = resource.proof()
    refused(await resource.get([*two.items(), ("DPoP", two["DPoP"])]), "DPoP", "invalid_dpop_proof")


async def test_the_query_is_no_part_of_the_url(resource: Resource) -> None:
    headers = resource.proof(htu=f"{resource.url}?limit=1#x")
    assert (await resource.get(headers)).status_code == 200


async def test_a_proof_of_another_key(resource: Resource) -> None:
    """Somebody who has the token only."""
    refused(await resource.get(OTHER("GET", resource.url, resource.token)), "DPoP", "invalid_token")


async def test_a_proof_is_used_once(resource: Resource) -> None:
    headers = resource.proof()
    assert (await resource.get(headers)).status_code == 200
    refused(await resource.get(headers), "DPoP", "invalid_dpop_proof")


async def test_nonces(resource: Resource) -> None:
    """RFC 9449 section 9."""
    response = await resource.get(resource.proof(nonce="wrong"))
    refused(response, "DPoP", "use_dpop_nonce")
    again = await resource.get(resource.proof(nonce=response.headers["dpop-nonce"]))
    assert again.status_code == 200
    older = nonces._at(nonces.clock.timestamp() // nonces.STEP - 1)
    replaced = await resource.get(resource.proof(nonce=older))
    assert replaced.status_code == 200
    assert replaced.headers["dpop-nonce"] != older


async def test_head(resource: Resource) -> None:
    response = await resource.party.http.head(resource.url, headers=KEY("HEAD", resource.url, resource.token))
    assert response.status_code == 200


async def test_introspection_tells_the_key(resource: Resource) -> None:
    """Section 6.2."""
    answer = await resource.party.introspect(resource.token)
    assert (answer["active"], answer["token_type"], answer["cnf"]) == (True, "DPoP", {"jkt": KEY.jkt})
    answer = await resource.party.introspect(resource.unbound)
    assert (answer["active"], answer["token_type"], "cnf" in answer) == (True, "Bearer", False)


async def test_the_body_is_for_bearer_tokens(make_client: MakeClient, alice: User, browser: Browser) -> None:
    party = await make_client(skip_consent=True)
    bound = await party.redeem(await party.sign_in(browser, alice.email), KEY("POST", f"{party.issuer}/token"))
    token, url = bound.json()["access_token"], f"{party.issuer}/userinfo"
    alone = await party.http.post(url, data={"access_token": token})
    refused(alone, "Bearer", "invalid_token")
    with_proof = await party.http.post(
        url, data={"access_token": token}, headers={"DPoP": KEY.proof("POST", url, token)}
    )
    refused(with_proof, "Bearer", "invalid_token")
    assert (await party.http.post(url, headers=KEY("POST", url, token))).status_code == 200


async def test_pages_of_clients_may_use_it(make_client: MakeClient) -> None:
    party = await make_client()
    origin = {"Origin": "https://app.example.com"}
    for path, method in (("/token", "POST"), ("/userinfo", "GET"), ("/par", "POST")):
        asked = await party.http.options(
            f"{party.issuer}{path}", headers=origin | {"Access-Control-Request-Method": method}
        )
        assert "DPoP" in asked.headers["access-control-allow-headers"].split(", ")
        answer = await party.http.request(method, f"{party.issuer}{path}", headers=origin)
        assert {"WWW-Authenticate", "DPoP-Nonce"} == set(answer.headers["access-control-expose-headers"].split(", "))
