"""Row 41: client assertions that are replayed, also at another server, or that are malformed."""

import asyncio
import hashlib
import secrets
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest

from idp.infra.db.engine import fetchrow
from idp.oauth.clients.registration import register_client
from tests.support.assertions import ClientKeys, claims, form
from tests.support.proxy import proxy_to
from tests.support.server import TLS, Server
from tests.support.tokens import encode, unsigned

KEYS = ClientKeys()


class Bank:
    """A client with a key, at any server of the shared database."""

    def __init__(self, http: httpx.AsyncClient, client_id: str) -> None:
        self.http, self.client_id = http, client_id

    @classmethod
    async def register(cls, http: httpx.AsyncClient) -> "Bank":
        client, _ = await register_client(
            client_name="Bank",
            grant_types=["client_credentials"],
            scope="",
            token_endpoint_auth_method="private_key_jwt",
            jwks=KEYS.jwks(),
        )
        return cls(http, client.client_id)

    async def token(self, server: Server, assertion: str) -> httpx.Response:
        return await self.http.post(
            f"{server.issuer}/token", data=form(assertion, grant_type="client_credentials"), timeout=30
        )

    def assertion(self, server: Server, **changes: Any) -> str:
        return KEYS.sign(claims(self.client_id, **({"aud": server.issuer} | changes)))

    async def until_known(self, server: Server) -> None:
        async with asyncio.timeout(30):
            while (await self.token(server, self.assertion(server))).status_code != 200:
                await asyncio.sleep(0.05)


@pytest.fixture
async def bank(server: Server, http: httpx.AsyncClient) -> Bank:
    bank = await Bank.register(http)
    await bank.until_known(server)
    return bank


def refused(response: httpx.Response) -> bool:
    return response.status_code == 401 and response.json()["error"] == "invalid_client"


async def test_41_an_assertion_is_used_once_over_two_servers(
    bank: Bank, server: Server, start_server: Callable[..., Server]
) -> None:
    """Also another assertion with the same jti, and one that is made for both."""
    other = await asyncio.to_thread(start_server)
    await bank.until_known(other)
    for first, second in ((server, other), (other, server)):
        jti = secrets.token_urlsafe(16)
        assert (await bank.token(first, bank.assertion(first, jti=jti))).status_code == 200
        for exp in (30, 60, 200):
            again = bank.assertion(second, jti=jti, exp=claims("")["iat"] + exp)
            assert refused(await bank.token(second, again))
        assert (await bank.token(second, bank.assertion(second))).status_code == 200


async def test_41_of_concurrent_uses_one_succeeds(bank: Bank, server: Server) -> None:
    assertion = bank.assertion(server)
    responses = await asyncio.gather(*(bank.token(server, assertion) for _ in range(40)))
    assert [response.status_code for response in responses].count(200) == 1
    assert all(response.status_code == 200 or refused(response) for response in responses)


async def test_41_kill_9_between_the_check_and_the_response(
    bank: Bank, dsn: str, start_server: Callable[..., Server]
) -> None:
    """PostgreSQL has committed, its answer never arrives, the server is killed: the assertion stays used."""
    async with proxy_to(dsn) as proxy:
        doomed = await asyncio.to_thread(start_server, IDP_DATABASE_URL=proxy.dsn)
        await bank.until_known(doomed)
        jti = secrets.token_urlsafe(16)
        assertion = bank.assertion(doomed, jti=jti)
        key = _key(bank.client_id, jti)
        proxy.withhold_after = key.bytes
        lost = asyncio.create_task(bank.token(doomed, assertion))
        async with asyncio.timeout(30):
            while await fetchrow("SELECT FROM used_jwt WHERE key = $1", key) is None:
                await asyncio.sleep(0.01)
        doomed.kill()
        with pytest.raises(httpx.TransportError):
            await lost
    restarted = await asyncio.to_thread(start_server, port=doomed.port)
    await bank.until_known(restarted)
    assert refused(await bank.token(restarted, assertion))


def _key(client_id: str, jti: str) -> UUID:
    parts = (b"client_assertion", client_id.encode(), jti.encode())
    digest = hashlib.sha256(b"".join(b"%d:%b" % (len(part), part) for part in parts)).digest()
    return UUID(bytes=digest[:16])


async def test_41_an_assertion_for_another_server_is_refused(bank: Bank, server: Server) -> None:
    for audience in (
        "https://other.example",
        f"{server.issuer}.evil.example",
        [server.issuer, "https://other.example"],
    ):
        assert refused(await bank.token(server, bank.assertion(server, aud=audience)))


async def test_41_an_assertion_of_another_client_is_refused(bank: Bank, server: Server) -> None:
    other = await Bank.register(bank.http)
    await other.until_known(server)
    for names in ({"sub": other.client_id}, {"iss": other.client_id}):
        assert refused(await bank.token(server, bank.assertion(server, **names)))


ENDPOINTS = ["/token", "/introspect", "/revoke", "/challenge", "/par"]
MALFORMED = [
    "",
    ".",
    "..",
    "...",
    "a.b.c",
    "e30.e30.",
    f"{unsigned({}, {})}.AAAA",
    f"{unsigned([], [])}.AAAA",
    f"{unsigned('x', 1)}.AAAA",
    f"{unsigned(None, None)}.AAAA",
    f"{unsigned({'alg': 'ES256'}, {'iss': 1, 'sub': 2})}.AAAA",
    f"{unsigned({'alg': 'ES256'}, {'iss': 'x', 'sub': 'x'})}.!!!!",
    f"{unsigned({'alg': 'HS256'}, {'iss': 'x', 'sub': 'x'})}.AAAA",
    f"{encode(b'{')}.{encode(b'{')}.AAAA",
    encode(b'{"alg":"ES256","alg":"none"}') + f".{encode(b'{}')}.AAAA",
    "A" * 20_000,
    "\u00e9.\U0001f600.x",
    "<script>",
]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_41_malformed_assertions_are_no_server_errors(server: Server, endpoint: str) -> None:
    async with httpx.AsyncClient(verify=TLS) as http:
        for text in MALFORMED:
            response = await http.post(f"{server.issuer}{endpoint}", data=form(text, client_id="no-such-client"))
            assert response.status_code in (400, 401), (endpoint, text[:60], response.text)
            assert response.json()["error"] in ("invalid_client", "invalid_request")


async def test_41_a_repeated_assertion_is_refused(bank: Bank, server: Server) -> None:
    body = form(bank.assertion(server), grant_type="client_credentials")
    for name in ("client_assertion", "client_assertion_type"):
        pairs = [*body.items(), (name, body[name])]
        encoded = "&".join(f"{key}={value}" for key, value in pairs)
        response = await bank.http.post(
            f"{server.issuer}/token",
            content=encoded,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("typ", [None, "JWT", "oauth-authz-req+jwt"])
async def test_41_a_request_object_is_no_assertion(bank: Bank, server: Server, typ: str | None) -> None:
    """It went through the browser, and its client has set `sub` and `jti` too."""
    for parameter in ({"response_type": "code"}, {"redirect_uri": "https://bank.example/cb"}):
        told = claims(bank.client_id, aud=server.issuer, **parameter)
        response = await bank.token(server, KEYS.sign(told, typ=typ))
        assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
