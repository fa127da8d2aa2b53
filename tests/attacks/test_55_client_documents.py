"""Rows 55 and 35: URLs as client_id that make the server fetch, store or reveal what it should not."""

import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from idp.infra.db.engine import fetchrow
from tests.conftest import MASTER_KEY
from tests.support.documents import REDIRECT_URI, ClientSite, client_site
from tests.support.elsewhere import answer, drip, redirect
from tests.support.oauth import RelyingParty
from tests.support.server import Server

URLS = [
    "https://", "https:///c", "https://example.com", "https://example.com/", "https://example.com/?", "https://@/c",
    "https://example.com/c#", "https://example.com/c?", "https://example.com:/c", "https://:443/c", "https://[/c",
    "https://example.com/%2e%2e/c", "https://user@example.com/c", "https://2130706433/c", "https://0x7f.1/c",
    "https://example.com/\0", "https://example.com/\ud7ff", "https://" + "a" * 5000, "https://example.com/" + "a" * 999,
    "http://example.com/c", "https://xn--/c", "https://example.com\\@evil.example/c", "HTTPS://EXAMPLE.COM/C",
]  # fmt: skip


@pytest.fixture(scope="module")
def accepting(db: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that accepts every document."""
    server = Server(
        tmp_path_factory.mktemp("documents"),
        IDP_DATABASE_URL=db,
        IDP_MASTER_KEY=MASTER_KEY,
        IDP_ADDRESS_LIMITS="false",
        IDP_CLIENT_ID_METADATA_DOCUMENTS="open",
    )
    yield server
    server.stop()


@pytest.fixture
async def site() -> AsyncIterator[ClientSite]:
    async with client_site() as site:
        yield site


async def _rows() -> int:
    row = await fetchrow("SELECT count(*) AS number FROM client WHERE origin = 'document'")
    assert row is not None
    return int(row["number"])


def _party(server: Server, http: httpx.AsyncClient, client_id: str) -> RelyingParty:
    return RelyingParty(server.issuer, http, client_id, redirect_uri=REDIRECT_URI)


@pytest.mark.parametrize("url", URLS)
async def test_55_urls_that_are_no_client_id(accepting: Server, http: httpx.AsyncClient, url: str) -> None:
    """A page or an error of the protocol, never a redirect and never a 5xx."""
    party = _party(accepting, http, url)
    page = await http.get(f"{accepting.issuer}/authorize", params=party.parameters())
    assert page.status_code == 400
    for path in ("/token", "/revoke", "/par"):
        response = await party.post(path, grant_type="authorization_code", code="x", token="x")
        assert (response.status_code, response.json()["error"]) in ((401, "invalid_client"), (400, "invalid_request"))


async def test_55_the_token_endpoint_fetches_nothing(
    accepting: Server, http: httpx.AsyncClient, site: ClientSite
) -> None:
    """Of a client that no user has allowed. So nobody can make the server call others by it."""
    party = _party(accepting, http, site.url())
    for path in ("/token", "/revoke", "/introspect", "/challenge"):
        response = await party.post(path, grant_type="authorization_code", code="x", token="x")
        assert response.status_code in (400, 401), path
    assert site.requests == 0


async def test_55_a_stranger_stores_nothing(accepting: Server, http: httpx.AsyncClient, site: ClientSite) -> None:
    before = await _rows()
    for number in range(5):
        party = _party(accepting, http, site.url(f"/{number}.json"))
        response = await http.get(f"{accepting.issuer}/authorize", params=party.parameters())
        assert response.status_code == 303
        assert (await party.post("/par", **party.parameters())).status_code == 201
    assert (site.requests, await _rows()) == (5, before)


async def test_55_one_site_is_not_flooded(accepting: Server, http: httpx.AsyncClient, site: ClientSite) -> None:
    """An attacker invents paths of somebody's site: a budget ends it, with a page that says to wait."""
    statuses = []
    for number in range(40):
        party = _party(accepting, http, site.url(f"/{secrets.token_hex(4)}-{number}.json"))
        response = await http.get(f"{accepting.issuer}/authorize", params=party.parameters())
        statuses.append(response.status_code)
    assert set(statuses) == {303, 429}
    assert site.requests == statuses.count(303) < 40


@pytest.mark.parametrize(
    "handler",
    [
        redirect("http://127.0.0.1:1/"),
        drip,
        answer(b"x" * 100_000, "Content-Type: application/json"),
        answer(b"[" * 10_000, "Content-Type: application/json"),
        answer(b'{"client_id": "\\u0000"}', "Content-Type: application/json"),
        answer(b"", status="204 No Content"),
    ],
)
async def test_55_documents_of_an_attacker(
    accepting: Server, http: httpx.AsyncClient, site: ClientSite, handler: Any
) -> None:
    site.handler = handler
    before = await _rows()
    party = _party(accepting, http, site.url())
    page = await http.get(f"{accepting.issuer}/authorize", params=party.parameters())
    assert page.status_code == 400
    assert "invalid_client" in page.text
    assert (await party.post("/par", **party.parameters())).status_code == 401
    assert (site.requests, await _rows()) == (1, before)


async def test_55_a_client_id_inside_our_network(start_server: Any, http: httpx.AsyncClient, site: ClientSite) -> None:
    """As in production: no connection is made, and the page does not tell whether something listens there."""
    server = start_server(
        IDP_CLIENT_ID_METADATA_DOCUMENTS="open", IDP_OUTBOUND_ALLOW_HTTP="false", IDP_OUTBOUND_ALLOWED_HOSTS=""
    )
    for name in ("localhost", "localhost.", "127.0.0.1", "[::1]", "127.1", "0x7f000001", "169.254.169.254"):
        told = set()
        for port in (site.port, 1):
            party = _party(server, http, f"https://{name}:{port}/c")
            response = await http.get(f"{server.issuer}/authorize", params=party.parameters())
            told.add((response.status_code, "cannot be read" in response.text, "is not valid" in response.text))
        assert len(told) == 1
        assert {status for status, *_ in told} == {400}
    assert site.requests == 0
